import { parseOptions } from "../lib/options.ts";

Deno.bench("parseOptions() no flags", async () => {
  await parseOptions([]);
});

const all = [
  "--hostname=127.0.0.1",
  "--port=7",
  "--access-log=access.log",
  "--max-clients=100",
  "--max-message=1M",
  "--max-buffered=1G",
  "--idle-timeout=2.5",
  "--drain-timeout=5",
  "--log-level=debug",
  "--log-format=json",
];

Deno.bench("parseOptions() every flag", async () => {
  await parseOptions(all);
});
