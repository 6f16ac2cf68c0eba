/**
 * The system calls with which the server listens and serves one client, taken by strace(1) and explained.
 *
 * @module
 */

import { Program } from "../tests/support/program.ts";
import { readToEof } from "../tests/support/tcp_client.ts";
import { TemporaryFolder } from "../tests/support/temporary_folder.ts";
import { until } from "../tests/support/wait.ts";

/** The system calls that are recorded. `epoll_wait` is not: how often it returns depends on what else is going on. */
const RECORDED =
  "socket,setsockopt,fcntl,bind,listen,accept4,epoll_ctl,getsockname,getpeername,recvfrom,sendto,openat," +
  "lseek,write,shutdown,close";

/** Why a system call is made. */
interface Explanation {
  /** What the call begins with, when {@linkcode systemCalls} has given its descriptors names. */
  call: string;
  /** Whose it is: the function that asked for it, or the part of Deno that adds it. */
  by: string;
  /** What it is for. */
  why: string;
}

/** Every call in its order. A trace with another one, or in another order, makes the generator fail. */
const EXPLANATIONS: Explanation[] = [
  { call: "socket(", by: "`openListener()`", why: "`Deno.listen()` is lines 1 to 8. A TCP socket over IPv4." },
  {
    call: "setsockopt(listener, SOL_SOCKET, SO_REUSEADDR",
    by: "Deno",
    why: "A restart may bind the port while old connections are in TIME_WAIT.",
  },
  { call: "fcntl(listener, F_GETFL", by: "Deno", why: "Reads the socket's flags, …" },
  {
    call: "fcntl(listener, F_SETFL",
    by: "Deno",
    why: "… and adds `O_NONBLOCK`: no call on the socket may block the thread.",
  },
  { call: "bind(", by: "`openListener()`", why: "The address and port: `hostname` and `port`." },
  { call: "listen(", by: "`openListener()`", why: "From here on the kernel completes handshakes: `tcpBacklog`." },
  {
    call: "epoll_ctl(epoll, EPOLL_CTL_ADD, listener",
    by: "Tokio",
    why: "epoll reports when a connection is pending.",
  },
  {
    call: "getsockname(listener",
    by: "Deno",
    why: "The address for `listener.addr`: with port 0 the kernel has chosen one.",
  },
  {
    call: "openat(",
    by: "`openLogFile()`",
    why: "`Deno.openSync()`, to append. If the folder is missing, this fails and is repeated.",
  },
  { call: "lseek(", by: "`openLogFile()`", why: "`seekSync()`, which fails on a pipe: that is refused as a log." },
  {
    call: 'write(log, "", 0)',
    by: "`openLogFile()`",
    why: "`writeSync()`, which fails on a folder that Windows has opened.",
  },
  {
    call: "accept4(listener, {",
    by: "`Acceptor`",
    why: "`listener.accept()`. The client was connected before: the kernel had completed its handshake.",
  },
  {
    call: "epoll_ctl(epoll, EPOLL_CTL_ADD, client",
    by: "Tokio",
    why: "epoll reports when this client can be read or written.",
  },
  { call: "getsockname(client", by: "Deno", why: "For `conn.localAddr`, whether it is asked for or not." },
  {
    call: "getpeername(client",
    by: "Deno",
    why: "For `conn.remoteAddr`. Fails if the client has reset by now, and `accept()` rejects with `NotConnected`.",
  },
  {
    call: "accept4(listener, …, [128], SOCK_CLOEXEC|SOCK_NONBLOCK) = -1 EAGAIN",
    by: "`Acceptor`",
    why: "The next `listener.accept()`: no other client is pending, so it waits for epoll.",
  },
  {
    call: 'recvfrom(client, "hello"',
    by: "`Client.read()`",
    why: "`conn.read()` into the first buffer, which has 4 KiB.",
  },
  {
    call: 'recvfrom(client, ""',
    by: "`Client.read()`",
    why: "`conn.read()` again, into the rest of it. 0 is EOF: the client has half-closed. Deno makes it `null`.",
  },
  { call: "sendto(client", by: "`Client.#echo()`", why: "`conn.write()`. It returns how many bytes the kernel took." },
  { call: "write(log", by: "`AccessLog.#write()`", why: "`writeSync()`: the line, before the close." },
  {
    call: "shutdown(client, SHUT_WR",
    by: "Tokio",
    why: "Part of `conn.close()`: sends the FIN. The client reads EOF.",
  },
  { call: "epoll_ctl(epoll, EPOLL_CTL_DEL, client", by: "Tokio", why: "Part of `conn.close()`." },
  {
    call: "close(client",
    by: "`Client.serve()`",
    why: "`conn[Symbol.dispose]()` in the `finally` block, which is `conn.close()`.",
  },
  {
    call: "epoll_ctl(epoll, EPOLL_CTL_DEL, listener",
    by: "Tokio",
    why: "After SIGTERM: part of `listener.close()`.",
  },
  {
    call: "close(listener",
    by: "`Acceptor.close()`",
    why: "`listener[Symbol.dispose]()`. Connections still in the backlog would be reset now.",
  },
  { call: "close(log", by: "`AccessLog.close()`", why: "The last call." },
];

/** Whether this machine has strace, and lets it trace. */
export function canTrace(): boolean {
  try {
    return new Deno.Command("strace", { args: ["-o", "/dev/null", "true"], stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

/**
 * Runs the server under strace while one client sends `hello`.
 *
 * @returns The calls on its listener, its client and its log, in their order. What differs from run to run is normalized:
 * descriptors are named, the server's port is 4000 and the client's 40000.
 */
export async function systemCalls(): Promise<string[]> {
  using folder = new TemporaryFolder("echo-trace-");
  Deno.mkdirSync(`${folder.path}/log`);
  const accessLog = `${folder.path}/log/access.log`;
  const launcher = [
    "strace",
    "-D",
    "-ff",
    "-qq",
    "-yy",
    "-s",
    "64",
    "-o",
    `${folder.path}/calls`,
    "-e",
    `trace=${RECORDED}`,
  ];
  await using program = await Program.start({ hostname: "0.0.0.0", accessLog, launcher });
  // strace writes a file for each thread. All calls on sockets are in the main thread's.
  const trace = () => Deno.readTextFileSync(`${folder.path}/calls.${program.pid}`);
  {
    using conn = await Deno.connect(program.address);
    await until(() => /^accept4.*EAGAIN/m.test(trace()), "the next accept");
    await conn.write(new TextEncoder().encode("hello"));
    await until(() => trace().includes(', "hello", 4096'), "the read of hello");
    await conn.closeWrite();
    await readToEof(conn);
  }
  program.kill("SIGTERM");
  await program.exit();
  const closed = () => /^close\(\d+<\S*access\.log>/m.test(trace());
  await until(closed, "the last call"); // strace is a process of its own, which may write after the program's exit
  return normalize(trace(), program.address.port, accessLog);
}

function normalize(trace: string, port: number, accessLog: string): string[] {
  const calls = trace.split("\n").filter((line) => line.includes("<TCP:") || line.includes(`${accessLog}`));
  return calls.map((call) =>
    call
      .replace(/^(.*?\)) += /, "$1 = ") // strace aligns results
      .replaceAll(/\d+<TCP:\[[^\]]*->[^\]]*\]>/g, "client")
      .replaceAll(/\d+<TCP:[^>]*>/g, "listener")
      .replaceAll(new RegExp(`\\d+<${accessLog}>`, "g"), "log")
      .replaceAll(accessLog, "/var/log/echo-server/access.log")
      .replaceAll(/\d+<anon_inode:\[eventpoll\]>/g, "epoll")
      .replaceAll(/AT_FDCWD<[^>]*>/g, "AT_FDCWD")
      .replaceAll(/htons\((\d+)\)/g, (_, number) => `htons(${[0, port].includes(Number(number)) ? 4000 : 40000})`)
      .replaceAll(/, data=\{[^}]*\}/g, "")
      .replaceAll(/0x[0-9a-f]{8,}/g, "…")
  );
}

/**
 * Explains calls in Markdown.
 *
 * @param calls From {@linkcode systemCalls}.
 * @throws {Error} If one has no explanation, or not in this order.
 */
export function explain(calls: string[]): string {
  for (let i = 0; i < Math.max(calls.length, EXPLANATIONS.length); i++) {
    const expected = EXPLANATIONS[i]?.call ?? "no more calls";
    if (calls[i]?.startsWith(expected) !== true) {
      throw new Error(`call ${i + 1} is\n${calls[i]}\nbut docs/system_calls.ts explains\n${expected}`);
    }
  }
  const block = calls.map((call, i) => `${String(i + 1).padStart(2)}  ${call}`).join("\n");
  const rows = EXPLANATIONS.map(({ by, why }, i) => `| ${i + 1} | ${by} | ${why} |`).join("\n");
  return `\`\`\`text\n${block}\n\`\`\`\n\n| line | made by | what for |\n| ---: | --- | --- |\n${rows}`;
}
