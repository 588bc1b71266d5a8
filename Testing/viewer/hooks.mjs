// The adapters are a module in a file that Node takes for none, and name tools for drawing that reading does not need.

import { register } from "node:module";

export function registerHooks() {
  register(import.meta.url);
}

export async function resolve(name, context, next) {
  if (name !== "@cornerstonejs/tools") return next(name, context);
  return { url: "data:text/javascript,export const utilities = { contours: {} };", shortCircuit: true };
}

export async function load(url, context, next) {
  const isAdapters = url.includes("/@cornerstonejs/adapters/");
  return next(url, isAdapters ? { ...context, format: "module" } : context);
}
