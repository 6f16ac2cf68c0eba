import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { DEFAULTS } from "../../lib/options.ts";
import { output, ROOT } from "../support/commands.ts";
import { Program } from "../support/program.ts";
import { pattern, readToEof, roundTrip, writeAll } from "../support/tcp_client.ts";
import { until } from "../support/wait.ts";
import { Image } from "./image.ts";
import { readManifest } from "./manifest.ts";
import { runtimePackages } from "./runtime_packages.ts";
import { needing } from "./requirements.ts";

const FOLDER = DEFAULTS.accessLog.slice(0, DEFAULTS.accessLog.lastIndexOf("/"));

Deno.test({
  ...needing("the container's image", "root", "mount namespaces", "network namespaces", "buildah", "runc"),
  async fn(t) {
    const packages = await runtimePackages();
    await using image = await Image.build(packages);

    await t.step("is based on the version of Deno that the tests run with", async () => {
      const containerfile = await Deno.readTextFile(`${ROOT}deploy/container/Containerfile`);
      const images = Array.from(containerfile.matchAll(/^FROM (?:--\S+ )?(\S+)/gm), ([, image]) => image);
      const official = `docker.io/denoland/deno:distroless-${Deno.version.deno}`;
      assertEquals(images, [official, official]);
    });

    await t.step("declares its user, its port, its permissions and its volume", () => {
      const { User, ExposedPorts, Volumes, Entrypoint } = image.config;
      assertEquals(User, "1000:1000");
      assertEquals(Object.keys(ExposedPorts), [`${DEFAULTS.port}/tcp`]);
      assertEquals(Object.keys(Volumes), [FOLDER]);
      assertEquals(Entrypoint.filter((arg) => arg.startsWith("--allow")), [
        `--allow-net=${DEFAULTS.hostname}:${DEFAULTS.port}`,
        `--allow-write=${FOLDER}`,
      ]);
    });

    await t.step(
      "contains the packages that the server imports at run time and no others, and adds less than 4 MB",
      async () => {
        const cache = `${image.root}/usr/lib/echo-server/cache/npm/registry.npmjs.org`;
        // A package is a folder with a folder for each version; a scope is a folder around packages.
        const args = [cache, "-name", "[0-9]*.[0-9]*", "-prune", "-printf", "%P\\n"];
        const found = (await output("find", ...args)).trim().split("\n").map((path) => path.replace(/\/[^/]*$/, ""));
        assertEquals(found.sort(), packages);
        assert(image.added < 4_000_000, `it adds ${image.added} bytes`);
      },
    );

    await t.step("runs as process 1, echoes, logs, drains on SIGTERM, writes nothing outside the volume", async () => {
      const before = new Set(await image.files());
      await using container = await image.container();
      await using server = await Program.start({
        command: container.command,
        accessLog: `${image.volume}/access.log`,
      });
      const status = await container.status();
      assertMatch(status, /^NSpid:\t\d+\t1$/m);
      assertMatch(status, /^Uid:\t1000\t1000\t1000\t1000$/m);
      assertMatch(status, /^Gid:\t1000\t1000\t1000\t1000$/m);
      for (const set of ["Prm", "Eff", "Bnd"]) assertStringIncludes(status, `Cap${set}:\t${"0".repeat(16)}\n`);

      (await Deno.connect(server.address)).close(); // as a TCP probe of Kubernetes does
      await until(() => server.lines().length === 1);
      const large = pattern(3_000_000);
      assertEquals(await roundTrip(server.address, large), large);
      using conn = await Deno.connect(server.address);
      await server.statusWhen(({ active }) => active === 1);
      server.kill("SIGTERM");
      await server.line(/draining/);
      await writeAll(conn, pattern(5));
      await conn.closeWrite();
      assertEquals(await readToEof(conn), pattern(5));
      assertEquals(await server.exit(), 0);
      assertEquals(server.lines().map(({ bytes }) => bytes), [0, large.length, 5]);
      assertEquals(await output("ls", image.volume), "access.log\n");
      assertEquals((await image.files()).filter((file) => !before.has(file)), []);
    });

    await t.step({
      name: "runs by the command of Kubernetes' manifest, with the access log on stdout",
      async fn() {
        const [{ spec: { template: { spec: pod } } }] = await readManifest();
        const [{ command, args }] = pod.containers;
        await using container = await image.container([...command, ...args]);
        await using server = await Program.start({ command: container.command });
        assertEquals(await roundTrip(server.address, pattern(5)), pattern(5));
        await until(() => server.stdout === "[client 1]: received 5 bytes\n");
        server.kill("SIGTERM");
        assertEquals(await server.exit(), 0);
        assertEquals(server.matches(/warning|error/i), []);
      },
    });
  },
});
