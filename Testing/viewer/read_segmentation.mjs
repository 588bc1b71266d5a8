// A DICOM Segmentation as OHIF reads it, with cornerstone's adapters:
//
//     node read_segmentation.mjs SEGMENTATION.dcm LABELS.raw SLICE.dcm SLICE.dcm ...
//
// Writes the segment's number of each voxel of the slices, one byte each, and prints the segments' labels by number.

import { writeFileSync } from "node:fs";
import { adaptersSEG, bufferOf, providerOf } from "./slices.mjs";

const [segmentation, labels, ...slices] = process.argv.slice(2);
const { Segmentation } = adaptersSEG.Cornerstone3D;
const read = await Segmentation.generateToolState(slices, bufferOf(segmentation), providerOf(slices));
if (read.labelmapBufferArray.length !== 1) throw new Error("segments overlap");
writeFileSync(labels, new Uint8Array(read.labelmapBufferArray[0]));
const segments = read.segMetadata.data.filter(Boolean);
console.log(JSON.stringify(Object.fromEntries(segments.map((one) => [one.SegmentNumber, one.SegmentLabel]))));
