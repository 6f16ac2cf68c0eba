import { assert, assertEquals } from "@std/assert";
import { parseLines } from "../support/access_log_lines.ts";
import { run } from "../support/commands.ts";
import { Program } from "../support/program.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { Load, loggedSizes } from "./load.ts";
import { replace } from "./replace.ts";
import { needing, withSystemPath } from "./requirements.ts";

const CONFIG = new URL("../../deploy/logrotate/echo-server", import.meta.url);
const ROTATIONS = 10;

Deno.test({
  ...needing(
    "logrotate leaves every client's line in exactly one file over ten rotations under load",
    "logrotate",
  ),
  async fn() {
    await using cleanup = new AsyncDisposableStack();
    const { path: folder } = cleanup.use(new TemporaryFolder("echo-logrotate-"));
    const accessLog = `${folder}/log/access.log`;
    await using server = await Program.start({ accessLog });

    // Replaces the path, and systemctl by what the unit's ExecReload= does.
    let config = await Deno.readTextFile(CONFIG);
    config = replace(config, "/var/log/echo-server/access.log /var/log/echo-server@*/access.log", accessLog);
    const reload = 'systemctl try-reload-or-restart echo-server.service "echo-server@*.service"';
    config = replace(config, reload, `kill -HUP ${server.pid}`);
    await Deno.writeTextFile(`${folder}/logrotate.conf`, config, { mode: 0o644 });

    await using load = new Load(server.address, 32, 4096);
    for (let rotation = 1; rotation <= ROTATIONS; rotation++) {
      await load.serves(100);
      const command = withSystemPath("logrotate", "-f", "-s", `${folder}/state`, `${folder}/logrotate.conf`);
      const rotated = await run(command);
      assertEquals(rotated.stderr, "");
      assertEquals(rotated.code, 0);
      await server.line(/access log reopened/, rotation);
    }
    await load.serves(100);
    await load.stop();

    const files = [...Deno.readDirSync(`${folder}/log`)].map(({ name }) => name).sort();
    assertEquals(files.length, ROTATIONS + 1, files.join(" "));
    const texts = await Promise.all(files.map((name) => read(`${folder}/log/${name}`)));
    assert(texts.every((text) => text !== ""), "a file is empty");
    const lines = texts.flatMap(parseLines);
    // A client's number makes its line unique, so a line in two files would be noticed.
    assertEquals(new Set(lines.map(({ client }) => client)).size, lines.length);
    assertEquals(load.failures, []);
    assertEquals(loggedSizes(lines), load.served);
  },
});

async function read(path: string): Promise<string> {
  const { readable } = await Deno.open(path);
  const text = path.endsWith(".gz") ? readable.pipeThrough(new DecompressionStream("gzip")) : readable;
  return await new Response(text).text();
}
