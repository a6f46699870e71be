// Runs pytest inside Pyodide: node pytest.mjs <folder of node_modules> <site-packages> <checkout> <pytest's arguments...>
// The exit code is pytest's. The three folders are mounted, so nothing is fetched.

import { createRequire } from "node:module";
import path from "node:path";

const [modules, sitePackages, checkout, ...args] = process.argv.slice(2);
const { loadPyodide } = createRequire(path.join(modules, "x.js"))("pyodide");

const pyodide = await loadPyodide({ env: { HOME: "/tmp", CI: process.env.CI ?? "" } });
for (const [name, folder] of [["/site-packages", sitePackages], ["/hookline", checkout]]) {
  pyodide.FS.mkdir(name);
  pyodide.mountNodeFS(name, folder);
}
pyodide.globals.set("args", pyodide.toPy(args));

process.exitCode = pyodide.runPython(`
import os, sys

sys.dont_write_bytecode = True  # the folders belong to the machine outside
sys.path[:0] = ["/hookline/sansio", "/site-packages"]
os.chdir("/hookline")
print(f"CPython {sys.version.split()[0]} on {sys.platform}", flush=True)

import pytest

int(pytest.main(["-p", "no:cacheprovider", *args]))
`);
