/**
 * Records a session on two terminals as an SVG image, and prints it. It takes port 4000 and the log from nothing else only
 * in namespaces of its own: {@linkcode record} runs it there.
 *
 * @module
 */

import { output, ROOT, succeeds } from "../tests/support/commands.ts";
import { TemporaryFolder } from "../tests/support/temporary_folder.ts";
import { Terminal } from "../tests/support/terminal.ts";

const SERVER = "deno task start";
const CLIENTS = [
  "printf hello | nc -N 127.0.0.1 4000; echo",
  "head -c 100M /dev/zero | nc -N 127.0.0.1 4000 | wc -c",
  "cat /var/log/echo-server/access.log",
];

/** The times that the reports are given, so that the image of an unchanged server does not change. */
const TIMES = ["2026-11-26T16:26:06.910Z", "2026-11-26T16:26:21.388Z"];

const PROMPT = "$ ";

/** Pixels. The width is that of the widest common monospaced fonts. */
const FONT_SIZE = 12;
const CHARACTER_WIDTH = 7.3;
const LINE_HEIGHT = 18;
const PADDING = 14;

/** A command that executes its arguments with a network and a `/var/log` of their own; for an ordinary user as well. */
const ISOLATE = ["unshare", "--map-root-user", "--net", "--mount", "sh", "-ec"];
const SET_UP = 'ip link set lo up; mount -t tmpfs none /var/log; exec "$@"';

/** Whether this machine has what the recording needs: namespaces, socat, OpenBSD's netcat. */
export function canRecord(): boolean {
  return succeeds(...ISOLATE, SET_UP, "sh", "true") && ["socat", "nc.openbsd"].every((tool) => succeeds("which", tool));
}

/** Records the session in namespaces of its own. Returns the image. */
export function record(): Promise<string> {
  const deno = [Deno.execPath(), "run", "--no-prompt", "--allow-read", "--allow-write", "--allow-run"];
  return output(...ISOLATE, SET_UP, "sh", ...deno, `${ROOT}docs/terminal_session.ts`);
}

/** Types the commands and returns what both terminals show in the end. */
async function session(): Promise<{ server: string; clients: string }> {
  using bin = new TemporaryFolder("echo-bin-"); // what the commands mean by `deno` and `nc`
  await Deno.symlink(Deno.execPath(), `${bin.path}/deno`);
  await Deno.symlink((await output("which", "nc.openbsd")).trim(), `${bin.path}/nc`);
  const shell = `stty echoctl; PATH="${bin.path}:$PATH" PS1='${PROMPT}' ENV= NO_COLOR=1 exec sh -i`;
  await using server = new Terminal(shell);
  await using clients = new Terminal(shell);
  await server.shows(/^\$ $/);
  await server.type(`${SERVER}\n`);
  await server.shows(/listening on/);
  await clients.shows(/^\$ $/);
  for (const command of CLIENTS) {
    await clients.type(`${command}\n`);
    const typed = command.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
    await clients.shows(new RegExp(`${typed}\r\n[^]*\r\n\\$ $`));
  }
  await server.type("\x03");
  await server.shows(/draining[^]*\$ $/);
  return { server: server.text, clients: clients.text };
}

/** Draws terminals, one below the other, in the colors that the reader's browser prefers. */
function draw(terminals: { title: string; text: string }[]): string {
  const escape = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const times = TIMES.values();
  const windows = terminals.map(({ title, text }) => ({
    title,
    lines: text.replaceAll(/\d[\d:.T-]+Z(?= info)/g, () => times.next().value ?? "").trimEnd().split("\r\n"),
  }));
  const longest = Math.max(...windows.flatMap(({ lines }) => lines.map((line) => line.length)));
  const width = Math.ceil(longest * CHARACTER_WIDTH) + 2 * PADDING;
  const drawn: string[] = [];
  let top = 0;
  for (const { title, lines } of windows) {
    const height = (lines.length + 1) * LINE_HEIGHT + 2 * PADDING;
    drawn.push(`<rect x="0.5" y="${top + 0.5}" width="${width - 1}" height="${height - 1}" rx="8"/>`);
    let y = top + PADDING + FONT_SIZE;
    drawn.push(`<text class="title" x="${PADDING}" y="${y}">${escape(title)}</text>`);
    for (const line of lines) {
      y += LINE_HEIGHT;
      const isTyped = line.startsWith(PROMPT);
      drawn.push(`<text${isTyped ? ' class="typed"' : ""} x="${PADDING}" y="${y}">${escape(line)}</text>`);
    }
    top += height + PADDING;
  }
  const height = top - PADDING;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>The server on one terminal, three commands on another</title>
<style>
rect { fill: #f6f8fa; stroke: #d0d7de }
text { fill: #1f2328; font: ${FONT_SIZE}px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre }
.title { fill: #59636e }
.typed { font-weight: bold }
@media (prefers-color-scheme: dark) {
  rect { fill: #161b22; stroke: #3d444d }
  text { fill: #e6edf3 }
  .title { fill: #9198a1 }
}
</style>
${drawn.join("\n")}
</svg>
`;
}

if (import.meta.main) {
  const { server, clients } = await session();
  const image = draw([{ title: "terminal 1", text: server }, { title: "terminal 2", text: clients }]);
  await Deno.stdout.write(new TextEncoder().encode(image));
}
