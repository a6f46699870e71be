"""The few objects of the Bot API that hookline itself reads, structured by cattrs, with the fields that it uses."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")


@frozen
class User:
    """The Bot API's User: here, the bot itself."""

    id: int
    is_bot: bool
    first_name: str
    username: str | None = None


@frozen
class WebhookInfo:
    """The Bot API's WebhookInfo, what getWebhookInfo returns. Dates are unix times."""

    url: str
    has_custom_certificate: bool
    pending_update_count: int
    ip_address: str | None = None
    last_error_date: int | None = None
    last_error_message: str | None = None
    last_synchronization_error_date: int | None = None
    max_connections: int | None = None
    allowed_updates: list[str] | None = None


@frozen
class ResponseParameters:
    """The Bot API's ResponseParameters: why a call was refused, for a program."""

    retry_after: int | None = None
    migrate_to_chat_id: int | None = None


def structure(value: Any, cls: type[T]) -> T:
    """`value`, plain JSON values, as one of the classes above. ValueError if it has not their shape."""
    from cattrs.errors import BaseValidationError, StructureHandlerNotFoundError

    try:
        return _converter().structure(value, cls)
    except (BaseValidationError, StructureHandlerNotFoundError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"not a {cls.__name__}: {error}") from None


@cache
def _converter() -> Converter:
    """Made when it is first needed, since importing cattrs would be a fifth of importing hookline."""
    from cattrs import Converter

    converter = Converter(detailed_validation=False)
    for hook in (_strict_int, _strict_str, _strict_bool):
        converter.register_structure_hook(hook)
    converter.register_structure_hook_func(lambda kind: kind == list[str], _strict_names)
    return converter


def _strict_int(value: Any, _: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is no integer")
    return value


def _strict_str(value: Any, _: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no string")
    return value


def _strict_bool(value: Any, _: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is no boolean")
    return value


def _strict_names(value: Any, _: Any) -> list[str]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is no list")
    return [_strict_str(name, str) for name in value]
