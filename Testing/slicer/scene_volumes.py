"""Volumes and transforms in a scene for tests: what lies where in the world is known, whatever transforms do."""

import numpy as np

from CrossModalSegApp.scene.node_geometry import to_world
from CrossModalSegLib.imaging.grid import Grid
from Testing.volumes import points_of, rotation


def add_volume(scene, grid, array, name="scan", class_name="vtkMRMLScalarVolumeNode"):
    """A volume node with ``array`` (K, J, I) on ``grid``, with an item in the subject hierarchy as in the desktop."""
    import slicer

    node = scene.AddNewNodeByClass(class_name, name)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(grid.ijk_to_ras))
    slicer.util.updateVolumeFromArray(node, array)
    node.CreateDefaultDisplayNodes()
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    tree.CreateItem(tree.GetSceneItemID(), node)
    return node


def oblique_grid(seed, size_mm=100.0):
    """Turned by any angle about all axes, spacing 1.5 to 2.5 mm and thick slices every third; left-handed for odd
    seeds."""
    random = np.random.default_rng(seed)
    direction = rotation(tuple(random.uniform(-180, 180, 3)))
    if seed % 2:
        direction[:, 2] *= -1
    spacing = random.uniform(1.5, 2.5, 3)
    if seed % 3 == 0:
        spacing[seed % 2] = 4.0
    shape = np.rint(size_mm / spacing)
    affine = np.eye(4)
    affine[:3, :3] = direction * spacing
    affine[:3, 3] = random.uniform(-40, 40, 3) - affine[:3, :3] @ ((shape - 1) / 2)
    i, j, k = shape.astype(int)
    return Grid((k, j, i), affine)


def permuted_grid(seed, size_mm=100.0):
    """Along the axes of space, but in another order and direction, as coronal or sagittal scans are stored."""
    random = np.random.default_rng(seed)
    direction = np.eye(3)[:, random.permutation(3)] * random.choice([-1, 1], 3)
    spacing = np.array([1.5, 1.8, 4.0])
    shape = np.rint(size_mm / spacing)
    affine = np.eye(4)
    affine[:3, :3] = direction * spacing
    affine[:3, 3] = random.uniform(-40, 40, 3) - affine[:3, :3] @ ((shape - 1) / 2)
    i, j, k = shape.astype(int)
    return Grid((k, j, i), affine)


def rigid_matrix(random):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(tuple(random.uniform(-60, 60, 3)))
    matrix[:3, 3] = random.uniform(-50, 50, 3)
    return matrix


def linear_node(scene, matrix, name="linear"):
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return node


def bspline(random, largest_mm=7.0):
    """A vtkOrientedBSplineTransform with random coefficients every 40 mm, over 360 mm, along turned axes."""
    import slicer
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    coefficients = vtk.vtkImageData()
    coefficients.SetDimensions(10, 10, 10)
    coefficients.SetSpacing(40, 40, 40)
    coefficients.AllocateScalars(vtk.VTK_DOUBLE, 3)
    directions = np.eye(4)
    directions[:3, :3] = rotation((20, -10, 30))
    coefficients.SetOrigin(-directions[:3, :3] @ np.full(3, 180.0))
    vtk_to_numpy(coefficients.GetPointData().GetScalars())[:] = random.uniform(-largest_mm, largest_mm, (1000, 3))
    transform = slicer.vtkOrientedBSplineTransform()
    transform.SetGridDirectionMatrix(slicer.util.vtkMatrixFromArray(directions))
    transform.SetCoefficientData(coefficients)
    return transform


def displacement_grid(random, largest_mm=4.0):
    """A vtkOrientedGridTransform: waves of displacement, a vector every 5 mm over 300 mm."""
    import slicer
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    field = vtk.vtkImageData()
    field.SetDimensions(61, 61, 61)
    field.SetSpacing(5, 5, 5)
    field.SetOrigin(-150, -150, -150)
    field.AllocateScalars(vtk.VTK_DOUBLE, 3)
    points = points_of(Grid((61, 61, 61), np.diag([5.0, 5.0, 5.0, 1.0]))) - 150
    phases = points @ random.uniform(-0.06, 0.06, (3, 3)) + random.uniform(0, 6, 3)
    vtk_to_numpy(field.GetPointData().GetScalars())[:] = largest_mm * np.sin(phases).reshape(-1, 3)
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(field)
    return transform


def thin_plate(random, largest_mm=6.0):
    import vtk

    transform = vtk.vtkThinPlateSplineTransform()
    transform.SetBasisToR()
    before, after = vtk.vtkPoints(), vtk.vtkPoints()
    for point in np.array(np.meshgrid(*[[-80.0, 0.0, 80.0]] * 3)).reshape(3, -1).T:
        before.InsertNextPoint(point)
        after.InsertNextPoint(point + random.uniform(-largest_mm, largest_mm, 3))
    transform.SetSourceLandmarks(before)
    transform.SetTargetLandmarks(after)
    return transform


def bending_node(scene, transform, by_inverse=False):
    """A transform node; ``by_inverse`` gives it the transform from its parent instead of to it."""
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "bending")
    if by_inverse:
        node.SetAndObserveTransformFromParent(transform)
    else:
        node.SetAndObserveTransformToParent(transform)
    return node


def put_under(node, *parents):
    """Put ``node`` under the first of ``parents``, that one under the next, and so on."""
    for lower, upper in zip((node, *parents), parents, strict=False):
        lower.SetAndObserveTransformNodeID(upper.GetID())


TRANSFORMS = {
    "none": lambda _scene, _random: [],
    "rigid": lambda scene, random: [linear_node(scene, rigid_matrix(random))],
    "chain of two": lambda scene, random: [linear_node(scene, rigid_matrix(random)) for _ in range(2)],
    "scaled": lambda scene, random: [linear_node(scene, rigid_matrix(random) @ np.diag([1.2, 1.2, 1.2, 1.0]))],
    "mirrored": lambda scene, random: [linear_node(scene, rigid_matrix(random) @ np.diag([-1.0, 1.0, 1.0, 1.0]))],
    "sheared": lambda scene, random: [linear_node(scene, rigid_matrix(random) @ _shear())],
    "b-spline": lambda scene, random: [bending_node(scene, bspline(random))],
    "inverse b-spline": lambda scene, random: [bending_node(scene, bspline(random), by_inverse=True)],
    "displacement grid": lambda scene, random: [bending_node(scene, displacement_grid(random))],
    "inverse grid": lambda scene, random: [bending_node(scene, displacement_grid(random), by_inverse=True)],
    "thin plate": lambda scene, random: [bending_node(scene, thin_plate(random))],
    "linear above bending": lambda scene, random: [
        bending_node(scene, bspline(random)),
        linear_node(scene, rigid_matrix(random)),
    ],
    "bending above linear": lambda scene, random: [
        linear_node(scene, rigid_matrix(random)),
        bending_node(scene, thin_plate(random)),
    ],
}
RIGHT_ANGLED = ("none", "rigid", "chain of two", "scaled", "mirrored")


def _shear():
    shear = np.diag([1.1, 0.9, 1.0, 1.0])
    shear[0, 1] = 0.25
    shear[2, 0] = -0.15
    return shear


class Anatomy:
    """Five ellipsoids in the world around the place where a volume node's centre lies; at least 25 mm thick."""

    offsets = np.array([[0.0, 0.0, 0.0], [30, 0, 5], [-30, 3, 0], [2, 31, -4], [0, -29, 6]])
    radii = np.array([[13.0, 14, 15], [14, 13, 16], [13, 15, 13], [16, 13, 14], [13.0, 13.0, 13.0]])
    values = (2, 17, 41, 53, 60)  # of the brain's label map

    def __init__(self, volume_node, grid):
        middle = grid.ijk_to_ras @ [*(np.array(grid.shape_ijk) - 1) / 2, 1]
        self.centres = to_world(volume_node, middle[:3]) + self.offsets

    def labels(self, world):
        """Label values at ``world`` points (..., 3)."""
        found = np.zeros(world.shape[:-1], dtype=np.uint16)
        for value, centre, radii in zip(self.values, self.centres, self.radii, strict=True):
            found[(((world - centre) / radii) ** 2).sum(axis=-1) < 1] = value
        return found

    def labels_on(self, grid):
        """Label values (K, J, I) at the voxels of ``grid`` in the world; looks at the boxes around the structures
        only."""
        found = np.zeros(grid.shape_kji, dtype=np.uint16)
        for centre, radii in zip(self.centres, self.radii, strict=True):
            middle = grid.ras_to_ijk @ [*centre, 1]
            reach = np.linalg.norm(grid.ras_to_ijk[:3, :3], axis=1) * radii.max()
            lower = np.clip(np.floor(middle[:3] - reach), 0, grid.shape_ijk).astype(int)
            upper = np.clip(np.ceil(middle[:3] + reach) + 1, 0, grid.shape_ijk).astype(int)
            if (lower < upper).all():
                first_voxel = np.eye(4)
                first_voxel[:3, 3] = lower
                box = Grid(tuple((upper - lower)[::-1]), grid.ijk_to_ras @ first_voxel)
                place = tuple(slice(a, b) for a, b in zip(lower[::-1], upper[::-1], strict=True))
                found[place] = np.maximum(found[place], self.labels(points_of(box)))
        return found

    def landmarks(self, random, depth=0.7):
        """[(world point, value)]: the centres, and points at ``depth`` (1 is the surface) within the structures."""
        points = [(centre, value) for value, centre in zip(self.values, self.centres, strict=True)]
        for value, centre, radii in zip(self.values, self.centres, self.radii, strict=True):
            directions = random.normal(size=(6, 3))
            directions /= np.linalg.norm(directions, axis=1, keepdims=True)
            points += [(centre + depth * radii * direction, value) for direction in directions]
        return points


def add_scan(scene, grid, kind, seed):
    """(volume node under transforms of ``kind``, `Anatomy`): the scan shows the anatomy, ten per label value, plus
    5."""
    node = add_volume(scene, grid, np.zeros(grid.shape_kji, np.float32))
    put_under(node, *TRANSFORMS[kind](scene, np.random.default_rng(seed)))
    anatomy = Anatomy(node, grid)
    import slicer

    shown = anatomy.labels(to_world(node, points_of(grid))) * 10.0 + 5
    slicer.util.updateVolumeFromArray(node, shown.astype(np.float32))
    return node, anatomy


def segment_at(segmentation_node, world):
    """The id of the segment that Slicer has at a ``world`` point, found through Slicer's own transforms; None
    outside."""
    import slicer
    import vtk

    own = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, segmentation_node.GetParentTransformNode(), own)
    local = own.TransformPoint(*world)
    segmentation = segmentation_node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(number) for number in range(segmentation.GetNumberOfSegments())]
    here = [id_ for id_ in ids if _holds(segmentation.GetSegment(id_), local)]
    assert len(here) <= 1, f"several segments at one point: {here}"
    return here[0] if here else None


def _holds(segment, ras):
    import vtk

    image = segment.GetRepresentation("Binary labelmap")
    world_to_image = vtk.vtkMatrix4x4()
    image.GetWorldToImageMatrix(world_to_image)
    i, j, k = np.rint(world_to_image.MultiplyPoint([*ras, 1.0])[:3]).astype(int)
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    inside = i0 <= i <= i1 and j0 <= j <= j1 and k0 <= k <= k1
    return inside and image.GetScalarComponentAsDouble(i, j, k, 0) == segment.GetLabelValue()


def dice(a, b):
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def node_ids(scene):
    return {scene.GetNthNode(number).GetID() for number in range(scene.GetNumberOfNodes())}
