/** The program on Deno for arm64, in an emulator. */

import { Arm64System } from "./arm64.ts";
import { firstMinute } from "./first_minute.ts";
import { needing } from "./requirements.ts";

Deno.test({
  ...needing("the program runs on arm64", "root", "mmdebstrap", "qemu-aarch64-static", "npm"),
  async fn() {
    using system = await Arm64System.make();
    await firstMinute({ launcher: system.launcher, executable: system.deno }, [0, 1, 5, 65_536, 3_000_000, 67_108_864]);
  },
});
