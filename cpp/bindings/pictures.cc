// Pictures for Python: headers, resizing, what a model takes. The GIL is released while pixels are read.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <tuple>

#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/encoding.h"
#include "bindings/picture_arguments.h"
#include "kernels/dispatch.h"
#include "media/picture_header.h"
#include "media/transform.h"

namespace py = pybind11;

namespace headrace {

Picture picture_argument(const Pixels& pixels, const std::string& name) {
  if (pixels.ndim() != 3 || pixels.shape(2) != 3 || pixels.shape(0) < 1 || pixels.shape(1) < 1)
    throw Error(ErrorKind::kInvalidArgument,
                concat(name, ": must be a uint8 array [height, width, 3] with at least one pixel"));
  if (pixels.shape(0) > kMaxSide || pixels.shape(1) > kMaxSide)
    throw Error(ErrorKind::kInvalidArgument, concat(name, " has ", pixels.shape(1), " x ", pixels.shape(0),
                                                    " pixels: at most ", kMaxSide, " a side are allowed"));
  return {pixels.data(), pixels.shape(1), pixels.shape(0)};
}

namespace {

using Floats = py::array_t<float>;

ResampleFilter filter_named(const std::string& name) {
  if (name == "bilinear") return ResampleFilter::kBilinear;
  if (name == "bicubic") return ResampleFilter::kBicubic;
  if (name == "lanczos") return ResampleFilter::kLanczos;
  throw Error(ErrorKind::kInvalidArgument,
              concat("filter='", name, "': must be 'bilinear', 'bicubic' or 'lanczos'"));
}

ResizeMode mode_named(const std::string& name) {
  if (name == "none") return ResizeMode::kNone;
  if (name == "exact") return ResizeMode::kExact;
  if (name == "shortest_edge") return ResizeMode::kShortestEdge;
  if (name == "letterbox") return ResizeMode::kLetterbox;
  throw Error(ErrorKind::kInvalidArgument,
              concat("resize='", name, "': must be 'none', 'exact', 'shortest_edge' or 'letterbox'"));
}

void check_side(const char* name, int64_t value, int64_t least) {
  if (value < least || value > kMaxSide)
    throw Error(ErrorKind::kInvalidArgument,
                concat(name, "=", value, ": must be between ", least, " and ", kMaxSide));
}

PictureTransform make_transform(const std::string& resize, std::array<int64_t, 2> resize_size,
                                const std::string& filter, std::optional<std::array<int64_t, 2>> canvas,
                                int fill, float scale, const std::array<float, 3>& mean,
                                const std::array<float, 3>& std, int64_t patch) {
  PictureShape shape{.resize = mode_named(resize), .filter = filter_named(filter)};
  shape.resize_width = resize_size[0];
  shape.resize_height = resize_size[1];
  if (shape.resize == ResizeMode::kExact || shape.resize == ResizeMode::kShortestEdge)
    for (const int64_t side : resize_size) check_side("resize_size", side, 1);
  shape.crops = canvas.has_value() && shape.resize != ResizeMode::kLetterbox;
  if (shape.resize == ResizeMode::kLetterbox && !canvas)
    throw Error(ErrorKind::kInvalidArgument, "canvas is None: a letterbox needs its width and height");
  if (canvas) {
    for (const int64_t side : *canvas) check_side("canvas", side, 1);
    shape.width = (*canvas)[0];
    shape.height = (*canvas)[1];
  }
  if (fill < 0 || fill > 255)
    throw Error(ErrorKind::kInvalidArgument, concat("fill=", fill, ": must be between 0 and 255"));
  shape.fill = static_cast<uint8_t>(fill);
  check_side("patch", patch, 0);
  for (const float each : std)
    if (!(each > 0))
      throw Error(ErrorKind::kInvalidArgument, concat("std holds ", each, ": must be above 0"));
  return {shape, PixelScale(scale, mean, std), patch};
}

void check_patches(const PictureTransform& transform, const Placement& placement) {
  const int64_t side = transform.patch;
  if (side > 0 && (placement.width % side != 0 || placement.height % side != 0))
    throw Error(ErrorKind::kInvalidArgument,
                concat("patches of ", side, " pixels do not fill a canvas of ", placement.width, " x ",
                       placement.height, ": choose sides that are multiples"));
}

Floats room_for(const PictureTransform& transform, const Placement& p) {
  if (transform.patch == 0) return Floats({int64_t{3}, p.height, p.width});
  const int64_t side = transform.patch;
  return Floats({p.height / side * (p.width / side), 3 * side * side});
}

std::vector<Floats> run_many(const PictureTransform& transform, const std::vector<Pixels>& pixels,
                             std::optional<int> threads) {
  std::vector<Picture> pictures;
  std::vector<Placement> placements;
  std::vector<Floats> results;
  std::vector<float*> outs;
  for (size_t i = 0; i < pixels.size(); ++i) {
    pictures.push_back(picture_argument(pixels[i], concat("pictures[", i, "]")));
    placements.push_back(place(transform.shape, pictures[i].width, pictures[i].height));
    check_patches(transform, placements[i]);
    results.push_back(room_for(transform, placements[i]));
    outs.push_back(results[i].mutable_data());
  }
  const int count =
      std::min<int>(threads_argument(threads), std::max<int>(1, static_cast<int>(pixels.size())));
  const py::gil_scoped_release unlocked;
  ThreadPool pool(count);
  run_all(transform, kernels().pixels, pictures, placements, outs, pool);
  return results;
}

py::array_t<uint8_t> canvas_of(const PictureTransform& transform, const Pixels& pixels) {
  const Picture picture = picture_argument(pixels, "picture");
  const Placement placement = place(transform.shape, picture.width, picture.height);
  py::array_t<uint8_t> out({placement.height, placement.width, int64_t{3}});
  uint8_t* const data = out.mutable_data();
  const py::gil_scoped_release unlocked;
  ResampleScratch scratch;
  draw_canvas(kernels().pixels, picture, placement, transform.shape.filter, scratch, data);
  return out;
}

std::array<int64_t, 6> placement_of(const PictureTransform& transform, int64_t width, int64_t height) {
  const Placement p = place(transform.shape, width, height);
  return {p.scaled_width, p.scaled_height, p.left, p.top, p.width, p.height};
}

Floats boxes_in_picture(const PictureTransform& transform, int64_t width, int64_t height,
                        const py::array_t<float, py::array::c_style>& boxes) {
  if (boxes.ndim() != 2 || boxes.shape(1) != 4)
    throw Error(ErrorKind::kInvalidArgument, "boxes: must be a float32 array [n, 4] of x1, y1, x2, y2");
  const Placement p = place(transform.shape, width, height);
  Floats out({boxes.shape(0), py::ssize_t{4}});
  for (py::ssize_t i = 0; i < boxes.shape(0); ++i) {
    const float* const box = boxes.data(i, 0);
    const auto mapped = box_in_picture(p, width, height, {box[0], box[1], box[2], box[3]});
    std::copy(mapped.begin(), mapped.end(), out.mutable_data(i, 0));
  }
  return out;
}

py::tuple header(const py::buffer& file) {
  const py::buffer_info view = file.request();
  if (view.ndim != 1 || view.itemsize != 1 || (view.size > 0 && view.strides[0] != 1))
    throw Error(ErrorKind::kInvalidArgument, "file: must be contiguous bytes");
  const PictureHeader h =
      read_picture_header({static_cast<const char*>(view.ptr), static_cast<size_t>(view.size)});
  return py::make_tuple(picture_format_name(h.format), h.width, h.height, h.orientation, h.scans,
                        h.has_extras);
}

}  // namespace

void register_pictures(py::module_& module) {
  module.def("picture_header", &header, py::arg("file"),
             "(format, width, height, orientation, scans, has_extras) of an encoded picture, from its first "
             "bytes; an unknown format is ''. See cpp/media/picture_header.h.");
  py::class_<PictureTransform>(module, "PictureTransform",
                               "What is done to a picture before a model sees it. Use headrace.pictures.")
      .def(py::init(&make_transform), py::kw_only(), py::arg("resize"), py::arg("resize_size"),
           py::arg("filter"), py::arg("canvas"), py::arg("fill"), py::arg("scale"), py::arg("mean"),
           py::arg("std"), py::arg("patch"))
      .def("place", &placement_of, py::arg("width"), py::arg("height"),
           "[scaled width, scaled height, left, top, canvas width, canvas height] of a picture of that size.")
      .def("canvas", &canvas_of, py::arg("picture").noconvert(),
           "uint8 [height, width, 3]: the picture resized, cut or padded.")
      .def("run", &run_many, py::arg("pictures"), py::arg("threads"),
           "Each uint8 [height, width, 3] as float32 [3, height, width] or [patches, 3 side side].")
      .def("boxes_in_picture", &boxes_in_picture, py::arg("width"), py::arg("height"), py::arg("boxes"),
           "float32 [n, 4]: boxes of the canvas in the pixels of a picture of that size.");
}

}  // namespace headrace
