// The slices of a series as cornerstone's adapters are told of them by a viewer.

import { readFileSync } from "node:fs";
import { registerHooks } from "./hooks.mjs";

registerHooks();
export const { default: dcmjs } = await import("dcmjs");
export const { adaptersSEG } = await import("@cornerstonejs/adapters");

export function bufferOf(file) {
  const bytes = readFileSync(file);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
}

export function providerOf(files) {
  const known = new Map(files.map((file) => [file, modules(instanceIn(file))]));
  return { get: (module, file) => known.get(file)[module] };
}

function instanceIn(file) {
  return dcmjs.data.DicomMetaDictionary.naturalizeDataset(dcmjs.data.DicomMessage.readFile(bufferOf(file)).dict);
}

function modules(instance) {
  const cosines = instance.ImageOrientationPatient;
  return {
    instance,
    generalSeriesModule: { seriesInstanceUID: instance.SeriesInstanceUID },
    generalImageModule: { sopInstanceUID: instance.SOPInstanceUID },
    imagePlaneModule: {
      rows: instance.Rows,
      columns: instance.Columns,
      rowCosines: cosines.slice(0, 3),
      columnCosines: cosines.slice(3),
    },
  };
}
