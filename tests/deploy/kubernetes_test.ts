/** The manifest for Kubernetes: its objects against the API's schema, its values against the server's and the image's. */

import { assert, assertEquals } from "@std/assert";
import config from "../../deno.json" with { type: "json" };
import { DEFAULTS, parseOptions } from "../../lib/options.ts";
import { ROOT, run } from "../support/commands.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { readManifest } from "./manifest.ts";
import { needing } from "./requirements.ts";

/**
 * The API's schema as TypeScript's types, which refuse a field that the API does not have. Of the version of Kubernetes
 * that the manifest needs at least. Not in deno.json, since nothing here imports it.
 */
const TYPES = "npm:kubernetes-types@1.30.0";

Deno.test({
  ...needing("echo-server.yaml fits the schema of Kubernetes' API"),
  async fn() {
    const source = (await readManifest()).map((object, i) => {
      const group = object.apiVersion.includes("/") ? object.apiVersion : `core/${object.apiVersion}`;
      return `import type { ${object.kind} as Type${i} } from "${TYPES}/${group}.d.ts";
        export const object${i}: Type${i} = ${JSON.stringify(object)};`;
    });
    assertEquals(source.length, 3);
    using folder = new TemporaryFolder();
    await Deno.writeTextFile(`${folder.path}/manifest.ts`, source.join("\n"));
    const check = [Deno.execPath(), "check", "--quiet", "--no-config", "--no-lock", "manifest.ts"];
    const { code, stderr } = await run(check, { cwd: folder.path, env: { NO_COLOR: "1" } });
    assertEquals(code, 0, stderr);
  },
});

Deno.test({
  ...needing("echo-server.yaml fits the server's defaults, and its objects fit each other"),
  async fn() {
    const [deployment, service, budget] = await readManifest();
    const { replicas, selector, template } = deployment.spec;
    const { spec: pod, metadata: { labels } } = template;
    const [container] = pod.containers;
    const options = await parseOptions(container.args);
    if (typeof options === "string") throw new Error(`the flags print the ${options}`);
    assertEquals(options, { ...DEFAULTS, accessLog: "-" });

    const [{ name, containerPort }] = container.ports;
    assertEquals(containerPort, options.port);
    for (const probe of [container.startupProbe, container.readinessProbe]) assertEquals(probe.tcpSocket.port, name);
    const [{ port, targetPort }] = service.spec.ports;
    assertEquals([port, targetPort], [options.port, name]);

    const { seconds } = container.lifecycle.preStop.sleep;
    assert(pod.terminationGracePeriodSeconds > seconds + options.drainTimeout);
    const sysctl = await Deno.readTextFile(`${ROOT}deploy/systemd/sysctl.conf`);
    const orphans = Number(/tcp_max_orphans = (\d+)/.exec(sysctl)?.[1]);
    const [, gibibytes] = /^(\d+)Gi$/.exec(container.resources.limits.memory) ?? [];
    const kernel = 65_536 * (options.maxClients + orphans);
    assert(Number(gibibytes) * 1024 ** 3 >= options.maxBuffered + kernel + 268_435_456);

    const [{ labelSelector }] = pod.topologySpreadConstraints as [{ labelSelector: typeof selector }];
    for (const { matchLabels } of [selector, labelSelector, budget.spec.selector]) assertEquals(matchLabels, labels);
    assertEquals(service.spec.selector, labels);
    assert(budget.spec.maxUnavailable < replicas);
  },
});

Deno.test({
  ...needing("echo-server.yaml runs the image of this version as its user, without its permission to write"),
  async fn() {
    const [{ spec: { template: { spec: { containers: [container], securityContext } } } }] = await readManifest();
    const containerfile = await Deno.readTextFile(`${ROOT}deploy/container/Containerfile`);
    const entrypoint: string[] = JSON.parse(/^ENTRYPOINT (.*)$/m.exec(containerfile)?.[1] ?? "");
    assertEquals(container.command, entrypoint.filter((arg) => !arg.startsWith("--allow-write=")));
    const { runAsUser, runAsGroup } = securityContext;
    assertEquals(`${runAsUser}:${runAsGroup}`, /^USER (.*)$/m.exec(containerfile)?.[1]);
    assertEquals(container.image, `ghcr.io/OWNER/echo-server:${config.version}`);
  },
});
