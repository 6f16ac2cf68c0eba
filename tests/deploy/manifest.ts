/**
 * The manifest for Kubernetes.
 *
 * @module
 */

// Not in deno.json: the documented installation would have to remove it from there.
import { parseAll } from "npm:deno-std@1.4.0/yaml/mod.js";
import { ROOT } from "../support/commands.ts";

/** What every object of the API has. */
export interface KubernetesObject {
  /** The API's group and version, such as `apps/v1`. The group of `v1` is called core. */
  apiVersion: string;
  /** The type. */
  kind: string;
}

/** The part of a Deployment that the tests look at. */
export interface Deployment extends KubernetesObject {
  /** What is wanted. */
  spec: {
    /** How many pods. */
    replicas: number;
    /** Which pods. */
    selector: { matchLabels: Labels };
    /** What each pod is made from. */
    template: { metadata: { labels: Labels }; spec: Pod };
  };
}

/** The part of a pod that the tests look at. */
export interface Pod {
  /** Seconds from the start of `preStop` until SIGKILL. */
  terminationGracePeriodSeconds: number;
  /** The user and group. */
  securityContext: { runAsUser: number; runAsGroup: number };
  /** How its pods are spread. */
  topologySpreadConstraints: { labelSelector: { matchLabels: Labels } }[];
  /** Its containers. */
  containers: [Container];
}

/** The part of a container that the tests look at. */
export interface Container {
  /** The image, with its version. */
  image: string;
  /** Instead of the image's entry point. */
  command: string[];
  /** The server's flags. */
  args: string[];
  /** Where it listens. */
  ports: [{ name: string; containerPort: number }];
  /** When it counts as started. */
  startupProbe: { tcpSocket: { port: string } };
  /** When it gets clients. */
  readinessProbe: { tcpSocket: { port: string } };
  /** What happens before SIGTERM. */
  lifecycle: { preStop: { sleep: { seconds: number } } };
  /** The most memory, as a quantity. */
  resources: { limits: { memory: string } };
}

/** The part of a Service that the tests look at. */
export interface Service extends KubernetesObject {
  /** What is wanted. */
  spec: { selector: Labels; ports: [{ port: number; targetPort: string }] };
}

/** The part of a PodDisruptionBudget that the tests look at. */
export interface PodDisruptionBudget extends KubernetesObject {
  /** What is wanted. */
  spec: { maxUnavailable: number; selector: { matchLabels: Labels } };
}

type Labels = Record<string, string>;

/** Reads the manifest's objects. What is in them has yet to be checked. */
export async function readManifest(): Promise<[Deployment, Service, PodDisruptionBudget]> {
  const text = await Deno.readTextFile(`${ROOT}deploy/kubernetes/echo-server.yaml`);
  return parseAll(text) as [Deployment, Service, PodDisruptionBudget];
}
