// Serves a Python Worker by Pyodide: node cloudflare.mjs <node_modules> <site-packages> <checkout> <port> <style>
// It stands in for workerd, which fetches its Python: each HTTP request becomes a Fetch API's Request, as there. Cloudflare's
// own `workers` module runs in it; what workerd would give that module are the two stubs below.

import { createRequire } from "node:module";
import http from "node:http";
import path from "node:path";

const [modules, sitePackages, checkout, port, style] = process.argv.slice(2);
const { loadPyodide } = createRequire(path.join(modules, "x.js"))("pyodide");

const pyodide = await loadPyodide({ env: { HOME: "/tmp", ...process.env } });
for (const [name, folder] of [["/site-packages", sitePackages], ["/hookline", checkout]]) {
  pyodide.FS.mkdir(name);
  pyodide.mountNodeFS(name, folder);
}
pyodide.registerJsModule("_cloudflare_compat_flags", { python_request_headers_preserve_commas: true });
pyodide.registerJsModule("_pyodide_entrypoint_helper", { patchWaitUntil() {}, cloudflareWorkersModule: {} });
pyodide.globals.set("style", style);

const fetchHandler = pyodide.runPython(`
import sys

sys.dont_write_bytecode = True  # the folders belong to the machine outside
sys.path[:0] = ["/hookline/sansio", "/hookline/drivers", "/hookline", "/site-packages"]

from tests.hosts.apps.cloudflare_app import Default, on_fetch


async def fetch(request, env, ctx):
    answer = await (Default(ctx, env).fetch(request) if style == "class" else on_fetch(request, env))
    return answer.js_object


fetch
`);

const env = { BOT_TOKEN: process.env.BOT_TOKEN };
http
  .createServer(async (incoming, outgoing) => {
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const body = ["GET", "HEAD"].includes(incoming.method) ? undefined : Buffer.concat(chunks);
    const request = new Request(`http://127.0.0.1:${port}${incoming.url}`, {
      method: incoming.method,
      headers: incoming.headers,
      body,
    });
    try {
      const response = await fetchHandler(request, env, { waitUntil() {} });
      outgoing.writeHead(response.status, Object.fromEntries(response.headers));
      outgoing.end(Buffer.from(await response.arrayBuffer()));
    } catch (error) {
      console.error(String(error)); // workerd logs it, too, and answers 500
      outgoing.writeHead(500).end();
    }
  })
  .listen(Number(port), "127.0.0.1");
