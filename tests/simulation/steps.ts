/**
 * What can happen in the world.
 *
 * @module
 */

import type { Draw } from "./draw.ts";
import { BROKEN_PIPE, GONE, RESET, SHORTAGE, systemError } from "./kernel_queue.ts";
import type { Life } from "./life.ts";
import type { Peer } from "./peer.ts";
import type { World } from "./world.ts";

/** Does a step. */
type Act = (world: World, draw: Draw) => void | Promise<void>;

/** Has some client do something whose connection is up. */
function someone(world: World, draw: Draw, act: (peer: Peer) => void | Promise<void>): void | Promise<void> {
  const { connected } = world;
  const peer = connected[draw.below(connected.length)];
  if (peer !== undefined) return act(peer);
}

/** One thing happens that can. */
export const happen: Act = (world, draw) => void world.happenOne(draw);

/** A signal comes, often while a client finishes. It is handled by promises, as all is: among those of this turn. */
const signal =
  (name: string, handle: (life: Life, world: World) => void | Promise<void>): Act => async (world, draw) => {
    const inHand = world.connected.filter(({ number }) => number > 0);
    if (draw.below(4) > 0) inHand[draw.below(inHand.length)]?.finish();
    for (let i = draw.below(5); i > 0 && world.happenOne(draw); i--) await world.rest();
    world.batch(draw.below(4), draw);
    for (let i = draw.below(5); i > 0; i--) await undefined;
    if (world.life === undefined) return;
    world.note(() => name);
    await handle(world.life, world);
  };

const end = signal("SIGTERM", async (life, world) => {
  if (!life.deaf) return life.stop();
  await world.rest(); // so that nothing of this turn goes on after it
  world.kill();
});

/** SIGTERM, or SIGINT, often while some wait to be accepted. */
export const sigterm: Act = (world, draw) => {
  for (let i = draw.below(3); i > 0; i--) world.connect(1);
  return end(world, draw);
};

const sighup = signal("SIGHUP", (life) => life.reopen());

/** A number from 0 to about `limit`, small ones as often as large ones. */
const logarithmic = (draw: Draw, limit: number) => Math.floor(limit ** (draw.below(64) / 63)) - 1 + draw.below(2);

/** A message's length: anything, and often about a limit or the end of a chunk. */
function drawLength(draw: Draw): number {
  switch (draw.below(6)) {
    case 0:
      return draw.below(50);
    case 1:
      return 0;
    case 2:
      return 4094 + draw.below(4);
    case 3:
      return 20_478 + draw.below(4);
    case 4:
      return 9 + draw.below(3);
    default:
      return logarithmic(draw, 100_000);
  }
}

/** What happens in every history, and how often. */
const ORDINARY: Record<string, [often: number, act: Act]> = {
  "one thing happens": [14, happen],
  "a turn of several things": [4, (world, draw) => world.batch(2 + draw.below(6), draw)],
  "time passes": [6, (world, draw) => {
    const next = (world.life?.clock.next ?? 0) - world.now();
    const ms = [250 * draw.below(6), logarithmic(draw, 3000), Number.isFinite(next) ? next : 0][draw.below(3)] ?? 0;
    return world.pass(ms, draw);
  }],
  "connect": [6, (world, draw) => {
    const length = drawLength(draw);
    const peer = world.connect(length);
    if (peer === undefined) return;
    world.note(() => `${peer.name} connects, to send ${length} bytes`);
    peer.window = draw.of(Infinity, Infinity, 0, 10);
    peer.packet = draw.of(Infinity, 5000, 7);
  }],
  "send": [6, (world, draw) =>
    someone(world, draw, (peer) => {
      const bytes = Math.min(peer.left, draw.below(3) === 0 ? logarithmic(draw, 50_000) : peer.left);
      world.note(() => `${peer.name} sends ${bytes} of ${peer.left} bytes`);
      peer.sendNext(bytes);
    })],
  "finish": [6, (world, draw) =>
    someone(world, draw, (peer) => {
      world.note(() => `${peer.name} sends the rest, half-closes and reads on`);
      peer.finish();
    })],
  "half-close": [2, (world, draw) =>
    someone(world, draw, (peer) => {
      world.note(() => `${peer.name} half-closes`);
      peer.halfClose();
    })],
  "read": [2, (world, draw) =>
    someone(world, draw, (peer) => {
      const bytes = logarithmic(draw, 50_000);
      world.note(() => `${peer.name} reads ${bytes} bytes of its reply`);
      peer.take(bytes);
    })],
  "drip": [1, (world, draw) =>
    someone(world, draw, async (peer) => {
      const pause = 1 + draw.below(700);
      world.note(() => `${peer.name} sends or reads a byte every ${pause} ms`);
      for (let i = draw.below(6); i >= 0; i--) {
        if (peer.halfClosed) peer.take(1);
        else peer.sendNext(1);
        await world.pass(pause, draw);
      }
    })],
};

/** What goes wrong. A history has some of them. */
const FAULTS: Record<string, Act> = {
  "reset": (world, draw) =>
    someone(world, draw, (peer) => {
      world.note(() => `${peer.name} resets the connection`);
      world.life?.listener.onReset(peer);
      peer.break(draw.of(RESET, BROKEN_PIPE));
    }),
  "unknown error": (world, draw) =>
    someone(world, draw, (peer) => {
      if (peer.number === 0) return;
      world.note(() => `${peer.name} fails for an unknown reason`);
      peer.break(new Error("unknown"));
    }),
  "gone before accept": (world, draw) => {
    const error = systemError(draw.of("ENOTCONN", ...GONE));
    // While a server drains, now and then more than the kernel's queue holds.
    const many = world.life?.drainedAt !== undefined && draw.below(4) === 3;
    const count = many ? 5000 : 1 + logarithmic(draw, 40);
    if (world.life?.listener.closed !== false) return;
    world.note(() => `${count} clients connect and are gone: ${error.code}`);
    world.life.listener.push(...Array.from({ length: count }, () => error));
  },
  "accept fails": (world, draw) => {
    const error = systemError(draw.of("EMFILE", ...SHORTAGE));
    const count = 1 + draw.below(5);
    if (world.life?.listener.closed !== false) return;
    world.note(() => `accept fails with ${error.code} ${count} times`);
    world.life.listener.pushFirst(...Array.from({ length: count }, () => error));
  },
  "stream": async (world, draw) => {
    const pause = 4 + draw.below(6);
    world.note(() => `a client comes every ${pause} ms`);
    // A server that drains has closed its listener long before this ends.
    const end = world.now() + (world.life?.drainedAt === undefined ? 30 : 400);
    while (world.now() < end && world.life?.listener.closed === false) {
      const peer = world.connect(1);
      peer?.finish();
      await world.pass(pause, draw);
    }
  },
  "disk full": (world, draw) => {
    const free = draw.below(120);
    world.note(() => `the disk has room for ${free} bytes`);
    world.disk.fill(free);
  },
  "disk fails": (world) => {
    world.note(() => "the disk fails");
    world.disk.fail(new Error("Input/output error (os error 5)"));
  },
  "disk heals": (world) => {
    world.note(() => "the disk is good");
    world.disk.heal(world.now());
  },
  "short writes": (world, draw) => {
    world.disk.largestWrite = 1 + draw.below(50);
    world.note(() => `a write takes ${world.disk.largestWrite} bytes at most`);
  },
  "log renamed": (world) => {
    world.note(() => "the log is renamed");
    world.disk.rename();
  },
  "log emptied": (world) => {
    world.note(() => "the log is emptied");
    world.disk.empty();
  },
  "other server": (world, draw) => {
    world.note(() => "another server appends");
    world.disk.otherAppends(`[other ${draw.below(1000)}]\n`);
  },
  "log cannot be opened": (world) => {
    world.note(() => "the log cannot be opened");
    world.disk.openFailure = new Error("Permission denied (os error 13)");
  },
  "SIGHUP": sighup,
  "rotation": (world, draw) => {
    world.note(() => "the log is renamed");
    world.disk.rename();
    return sighup(world, draw);
  },
  "SIGUSR2": signal("SIGUSR2", (life) => life.reportStatus()),
  "SIGTERM": sigterm,
  "SIGTERM twice": async (world, draw) => {
    await sigterm(world, draw);
    await world.pass(draw.below(2) === 0 ? 1000 : 985 + draw.below(30), draw);
    await sigterm(world, draw);
  },
  "SIGKILL": (world) => {
    world.note(() => "SIGKILL");
    world.kill();
  },
  "stderr not read": (world) => {
    world.note(() => "nobody reads stderr");
    world.stderr.state = "full";
  },
  "stderr read": (world) => {
    world.note(() => "stderr is read");
    world.stderr.state = "read";
  },
  "stderr broken": (world) => {
    world.note(() => "stderr is broken");
    world.stderr.state = "broken";
  },
  "stall": (world, draw) => {
    const ms = 1 + logarithmic(draw, 300);
    world.note(() => `the process is stopped for ${ms} ms`);
    world.stall(ms);
  },
};

/** What a number of a history can stand for. */
export interface Step {
  /** What it is called. */
  name: string;
  /** Which bit of the history's faults says that it happens; `undefined` if it always does. */
  fault?: number;
  /** Does it. */
  act: Act;
}

/** Every step, as often as it comes up. */
export const STEPS: Step[] = [
  ...Object.entries(ORDINARY).flatMap(([name, [often, act]]) => Array.from({ length: often }, () => ({ name, act }))),
  ...Object.entries(FAULTS).map(([name, act], fault) => ({ name, fault, act })),
];
