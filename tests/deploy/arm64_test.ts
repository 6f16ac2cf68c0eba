/** The program and its container's image on arm64, in an emulator. */

import { assert, assertEquals } from "@std/assert";
import { Arm64System } from "./arm64.ts";
import { firstMinute } from "./first_minute.ts";
import { Image } from "./image.ts";
import { needing } from "./requirements.ts";
import { runtimePackages } from "./runtime_packages.ts";

Deno.test({
  ...needing("arm64", "root", "mmdebstrap", "qemu-aarch64-static", "npm", "mount namespaces", "buildah", "runc"),
  async fn(t) {
    using system = await Arm64System.make();
    const { launcher, deno: executable } = system;

    assert(
      await t.step(
        "the program starts, echoes and drains",
        () => firstMinute({ launcher, executable }, [0, 1, 5, 65_536, 3_000_000, 67_108_864]),
      ),
    );

    await t.step("the image is built on another platform, and its server starts, echoes and drains", async () => {
      await using image = await Image.build(await runtimePackages(), system);
      assertEquals(image.architecture, "arm64");
      await using container = await image.container(image.config.Entrypoint, system.emulator);
      await firstMinute({ command: container.command, accessLog: `${image.volume}/access.log` }, [0, 5, 3_000_000]);
    });
  },
});
