// A DICOM Segmentation as OHIF reads it, with cornerstone's adapters:
//
//     node read_segmentation.mjs SEGMENTATION.dcm LABELS.raw SLICE.dcm SLICE.dcm ...
//
// Writes the segment's number of each voxel of the slices, one byte each, and prints the segments' labels by number.

import { readFileSync, writeFileSync } from "node:fs";
import { registerHooks } from "./hooks.mjs";

registerHooks();
const { default: dcmjs } = await import("dcmjs");
const { adaptersSEG } = await import("@cornerstonejs/adapters");

const [segmentation, labels, ...slices] = process.argv.slice(2);
const instances = new Map(slices.map((slice) => [slice, instanceIn(slice)]));
const read = await adaptersSEG.Cornerstone3D.Segmentation.generateToolState(
  slices,
  bufferOf(segmentation),
  { get: (module, slice) => modules(instances.get(slice))[module] },
);
if (read.labelmapBufferArray.length !== 1) throw new Error("segments overlap");
writeFileSync(labels, new Uint8Array(read.labelmapBufferArray[0]));
const segments = read.segMetadata.data.filter(Boolean);
console.log(JSON.stringify(Object.fromEntries(segments.map((one) => [one.SegmentNumber, one.SegmentLabel]))));

function bufferOf(file) {
  const bytes = readFileSync(file);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
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
