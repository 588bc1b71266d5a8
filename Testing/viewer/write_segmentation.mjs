// A DICOM Segmentation as OHIF writes it, with cornerstone's adapters:
//
//     node write_segmentation.mjs SEGMENTATION.dcm LABELS.raw SEGMENTS.json SLICE.dcm SLICE.dcm ...
//
// LABELS.raw has the segment's number of each voxel of the slices, one byte each; SEGMENTS.json the segments.

import { readFileSync, writeFileSync } from "node:fs";
import { adaptersSEG, dcmjs, providerOf } from "./slices.mjs";

const [segmentation, labels, segments, ...slices] = process.argv.slice(2);
const { Segmentation } = adaptersSEG.Cornerstone3D;
const provider = providerOf(slices);
const { rows, columns } = provider.get("imagePlaneModule", slices[0]);
const images = slices.map((slice) => ({
  imageId: slice,
  getPixelData: () => new Uint16Array(rows * columns),
}));
const labelmap = Segmentation.generateLabelMaps2DFrom3D({
  scalarData: new Uint8Array(readFileSync(labels)),
  dimensions: [columns, rows, slices.length],
});
labelmap.metadata = [];
for (const one of JSON.parse(readFileSync(segments))) labelmap.metadata[one.SegmentNumber] = one;
const { dataset } = Segmentation.generateSegmentation(images, labelmap, provider);
writeFileSync(segmentation, Buffer.from(dcmjs.data.datasetToBuffer(dataset)));
