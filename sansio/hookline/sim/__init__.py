"""The simulated Telegram: a Bot API server's delivery as a pure machine, faithful to telegram-server.md.

`SimulatedTelegram` speaks requests and responses as values; `SimulatedServer` is the same down to the bytes, so that a
driver can serve it on loopback.
"""

from __future__ import annotations

from hookline.sim.faults import Fault
from hookline.sim.server import SimulatedServer
from hookline.sim.telegram import Call, SimulatedTelegram

__all__ = ["Call", "Fault", "SimulatedServer", "SimulatedTelegram"]
