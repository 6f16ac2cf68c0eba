/**
 * What can happen in a run.
 *
 * @module
 */

import type { Draw } from "./draw.ts";
import type { Peer } from "./peer.ts";
import type { ServerProcess } from "./server_process.ts";
import type { Simulator } from "./simulator.ts";
import {
  CANNOT_OPEN,
  DISCONNECTS,
  DISK_FAILURE,
  EXHAUSTION,
  FAILED_ACCEPTS,
  FAILURES,
  NOT_CONNECTED,
} from "./system_errors.ts";

/** Does a step. */
type Act = (simulator: Simulator, draw: Draw) => void | Promise<void>;

/** Has a client do something whose connection is up. */
function withClient(act: (peer: Peer, simulator: Simulator, draw: Draw) => void | Promise<void>): Act {
  return (simulator, draw) => {
    const { connected } = simulator;
    const peer = connected[draw.below(connected.length)];
    if (peer !== undefined) return act(peer, simulator, draw);
  };
}

/** One event of those that can happen. */
export const completeOne: Act = (simulator, draw) => void simulator.completeOne(draw);

/**
 * A signal, often while a client finishes. Its listener runs among the promise reactions of an event-loop iteration, so
 * it may come between any two of them.
 */
const signal = (name: string, handle: (process: ServerProcess) => void): Act => async (simulator, draw) => {
  const inFlight = simulator.connected.filter(({ number }) => number > 0);
  if (draw.below(4) > 0) inFlight[draw.below(inFlight.length)]?.finish();
  for (let i = draw.below(5); i > 0 && simulator.completeOne(draw); i--) await simulator.runPromises();
  simulator.completeSeveral(draw.below(4), draw);
  for (let i = draw.below(5); i > 0; i--) await undefined;
  const { process } = simulator;
  if (process === undefined || process.isServed) return; // main.ts ignores signals once serve() has resolved
  simulator.note(() => name);
  try {
    simulator.callBack(() => handle(process));
  } catch (error) {
    simulator.violated(`the listener of ${name} throws ${error}`);
  }
};

const stop = signal("SIGTERM", (process) => process.stop());

/** SIGTERM or SIGINT, often while clients are in the backlog. */
export const sigterm: Act = (simulator, draw) => {
  for (let i = draw.below(4); i > 0; i--) simulator.connect(1);
  return stop(simulator, draw);
};

const sighup = signal("SIGHUP", (process) => process.reopen());

/** A number from 0 to about `limit`, small ones as often as large ones. */
const logarithmic = (draw: Draw, limit: number) => Math.floor(limit ** (draw.below(64) / 63)) - 1 + draw.below(2);

/** A message's length: any, and often close to a limit or to the end of a buffer. */
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

/** What happens in every trace, and how often. */
const ORDINARY: Record<string, [weight: number, act: Act]> = {
  "one event": [14, completeOne],
  "several events at once": [4, (simulator, draw) => simulator.completeSeveral(2 + draw.below(6), draw)],
  "time passes": [6, (simulator, draw) => {
    const next = (simulator.process?.clock.next ?? 0) - simulator.now();
    const ms = [250 * draw.below(6), logarithmic(draw, 3000), Number.isFinite(next) ? next : 0][draw.below(3)] ?? 0;
    return simulator.pass(ms, draw);
  }],
  "connect": [6, (simulator, draw) => {
    const length = drawLength(draw);
    const peer = simulator.connect(length);
    if (peer === undefined) return;
    simulator.note(() => `${peer.name} connects, to send ${length} bytes`);
    peer.window = draw.of(Infinity, Infinity, 0, 10);
    peer.packet = draw.of(Infinity, 5000, 7);
  }],
  "send": [
    6,
    withClient((peer, simulator, draw) => {
      const bytes = Math.min(peer.unsent, draw.below(3) === 0 ? logarithmic(draw, 50_000) : peer.unsent);
      simulator.note(() => `${peer.name} sends ${bytes} of ${peer.unsent} bytes`);
      peer.sendNext(bytes);
    }),
  ],
  "finish": [
    6,
    withClient((peer, simulator) => {
      simulator.note(() => `${peer.name} sends the rest, half-closes and reads on`);
      peer.finish();
    }),
  ],
  "half-close": [
    2,
    withClient((peer, simulator) => {
      simulator.note(() => `${peer.name} half-closes`);
      peer.halfClose();
    }),
  ],
  "read": [
    2,
    withClient((peer, simulator, draw) => {
      const bytes = logarithmic(draw, 50_000);
      simulator.note(() => `${peer.name} reads ${bytes} bytes of its reply`);
      peer.take(bytes);
    }),
  ],
  "drip": [
    1,
    withClient(async (peer, simulator, draw) => {
      const pause = 1 + draw.below(700);
      simulator.note(() => `${peer.name} sends or reads a byte every ${pause} ms`);
      for (let i = draw.below(6); i >= 0; i--) {
        if (peer.hasHalfClosed) peer.take(1);
        else peer.sendNext(1);
        await simulator.pass(pause, draw);
      }
    }),
  ],
};

/** What goes wrong. Each trace has some of them. */
const FAULTS: Record<string, Act> = {
  "reset": withClient((peer, simulator, draw) => {
    const error = draw.of(...DISCONNECTS);
    simulator.note(() => `${peer.name} disconnects: ${error.message}`);
    simulator.process?.listener.onReset(peer);
    peer.break(error);
  }),
  "read or write fails": withClient((peer, simulator, draw) => {
    if (peer.number === 0) return;
    const error = draw.of(...FAILURES);
    simulator.note(() => `${peer.name} fails: ${error.message}`);
    peer.break(error);
  }),
  "disconnect before accept": (simulator, draw) => {
    const error = draw.of(NOT_CONNECTED, ...FAILED_ACCEPTS);
    const { process } = simulator;
    // Now and then more than may fail in a row, and while the server drains more than its backlog holds.
    const isDraining = process?.drain.startedAt !== undefined;
    const count = draw.below(isDraining ? 4 : 16) === 3 ? isDraining ? 5000 : 1200 : 1 + logarithmic(draw, 40);
    if (process?.listener.closed !== false) return;
    simulator.note(() => `${count} accepts will fail: ${error.message}`);
    process.listener.push(...Array.from({ length: count }, () => error));
  },
  "exhaustion": (simulator, draw) => {
    const error = draw.of(...EXHAUSTION);
    const count = 1 + draw.below(5);
    if (simulator.process?.listener.closed !== false) return;
    simulator.note(() => `the next ${count} accepts fail: ${error.message}`);
    simulator.process.listener.failNext(count, error);
  },
  "stream of clients": async (simulator, draw) => {
    const pause = 4 + draw.below(6);
    simulator.note(() => `a client connects every ${pause} ms`);
    // A draining server has closed its listener long before this ends.
    const end = simulator.now() + (simulator.process?.drain.startedAt === undefined ? 30 : 400);
    while (simulator.now() < end && simulator.process?.listener.closed === false) {
      simulator.connect(1)?.finish();
      await simulator.pass(pause, draw);
    }
  },
  "busy clients": async (simulator, draw) => {
    const count = 4 + draw.below(8);
    const bytes = 40 + draw.below(100);
    const { maxClients = 0, operations = 0 } = simulator.process?.setup ?? {};
    if (maxClients < count || operations === 0) return; // they starve no other: it would take time for nothing
    simulator.note(() => `${count} clients connect and send ${bytes} bytes one by one, another one a byte`);
    for (let i = 0; i < count; i++) {
      const peer = simulator.connect(bytes);
      for (let j = 0; j < bytes; j++) peer?.sendNext(1);
    }
    simulator.connect(1)?.finish();
    if (draw.below(3) === 2) await sigterm(simulator, draw);
  },
  "crowd": (simulator, draw) => {
    const count = 50 + draw.below(50);
    if (count > (simulator.process?.setup.maxClients ?? 0)) return;
    simulator.note(() => `${count} clients connect`);
    for (let i = 0; i < count; i++) simulator.connect(1);
  },
  "memory runs out": ({ note, memory }) => {
    note(() => "no memory can be allocated");
    memory.exhaust();
  },
  "memory is available": ({ note, memory }) => {
    note(() => "memory can be allocated");
    memory.repair();
  },
  "disk full": ({ note, disk }, draw) => {
    const free = draw.below(120);
    note(() => `the disk has ${free} bytes free`);
    disk.fill(free);
  },
  "disk fails": ({ note, disk }) => {
    note(() => "the disk fails");
    disk.fail(DISK_FAILURE);
  },
  "disk is repaired": ({ note, disk, now }) => {
    note(() => "the disk is good");
    disk.repair(now());
  },
  "short writes": ({ note, disk }, draw) => {
    const maxWrite = draw.below(50);
    note(() => `a write takes ${maxWrite} bytes at most`);
    disk.shorten(maxWrite);
  },
  "log renamed": ({ note, disk }) => {
    note(() => "the log is renamed");
    disk.rename();
  },
  "log truncated": ({ note, disk }) => {
    note(() => "the log is truncated");
    disk.truncate();
  },
  "other server": ({ note, disk }, draw) => {
    note(() => "another server appends to the log");
    disk.appendOther(`[other ${draw.below(1000)}]\n`);
  },
  "log cannot be opened": ({ note, disk }) => {
    note(() => "the log cannot be opened");
    disk.openFailure = CANNOT_OPEN;
  },
  "SIGHUP": sighup,
  "rotation": (simulator, draw) => {
    simulator.note(() => "the log is renamed");
    simulator.disk.rename();
    return sighup(simulator, draw);
  },
  "SIGUSR2": signal("SIGUSR2", (process) => process.reportStatus()),
  "SIGTERM": sigterm,
  "SIGTERM twice": async (simulator, draw) => {
    await sigterm(simulator, draw);
    await simulator.pass(draw.below(2) === 0 ? 1000 : 985 + draw.below(30), draw);
    await sigterm(simulator, draw);
  },
  "SIGKILL": (simulator) => {
    simulator.note(() => "SIGKILL");
    simulator.kill();
  },
  "stderr not read": ({ note, stderr }) => {
    note(() => "stderr is not read");
    stderr.state = "unread";
  },
  "stderr read": ({ note, stderr }) => {
    note(() => "stderr is read");
    stderr.state = "read";
  },
  "stderr slow": ({ note, stderr }, draw) => {
    const delay = 100 + draw.below(1200);
    note(() => `a write to stderr takes ${delay} ms`);
    stderr.state = "read";
    stderr.delay = delay;
  },
  "stderr closed": ({ note, stderr }) => {
    note(() => "the reader of stderr closes it");
    stderr.state = "closed";
  },
  "stall": (simulator, draw) => {
    const ms = 1 + logarithmic(draw, 300);
    simulator.note(() => `the process is stopped for ${ms} ms`);
    simulator.stall(ms);
  },
};

/** What a number of a trace can stand for. */
export interface Step {
  /** Its name in the statistics. */
  name: string;
  /** Which bit of the trace's faults says that it happens; `undefined` if it always does. */
  fault?: number;
  /** Does it. */
  act: Act;
}

/** Every step, as often as its weight. */
export const STEPS: Step[] = [
  ...Object.entries(ORDINARY).flatMap(([name, [weight, act]]) => Array.from({ length: weight }, () => ({ name, act }))),
  ...Object.entries(FAULTS).map(([name, act], fault) => ({ name, fault, act })),
];
