// The way in for pictures: checks, resizing and scaling on the caller's thread, admission.
#include <algorithm>

#include "engine/served.h"
#include "kernels/dispatch.h"

namespace headrace {
namespace {

// A quarter of a gigabyte, as of answers.
constexpr int64_t kMaxPictureNumbers = 1 << 26;

// The same way to patches for a picture that is planes of the right size already.
void take_planes(const PictureTransform& transform, const ModelInfo& info, const PictureInput& input,
                 size_t index, float* out) {
  if (input.picture.width != info.picture_width || input.picture.height != info.picture_height)
    throw Error(ErrorKind::kInvalidArgument,
                concat("images[", index, "] has planes of ", input.picture.width, " x ", input.picture.height,
                       ": this model takes ", info.picture_width, " x ", info.picture_height));
  float sum = 0;  // of x * 0: 0 unless one of them is infinite or no number
  for (int64_t i = 0; i < 3 * info.picture_width * info.picture_height; ++i) sum += input.planes[i] * 0.0f;
  if (sum != 0.0f)
    throw Error(ErrorKind::kInvalidArgument, concat("images[", index, "] holds infinity or NaN"));
  planes_to_patches(input.planes, info.picture_width, info.picture_height, transform.patch, out);
}

const PictureTransform& transform_of(const Model& model, const std::string& name) {
  if (const PictureTransform* const found = model.pictures()) return *found;
  throw Error(ErrorKind::kInvalidArgument, concat("the model '", name, "' sees no pictures: it reads texts"),
              "wrong_input");
}

}  // namespace

std::vector<float> Engine::prepare(const std::string& name, const Picture& picture) const {
  const std::shared_ptr<Served> served = find(name);
  const PictureTransform& transform = transform_of(*served->model, name);
  const Placement placement = place(transform.shape, picture.width, picture.height);
  PictureScratch scratch;
  std::vector<float> planes(static_cast<size_t>(PictureTransform::floats(placement)));
  PictureTransform{transform.shape, transform.scale, 0}.run(kernels().pixels, picture, placement, scratch,
                                                            planes.data());
  return planes;
}

std::shared_ptr<Ticket> Engine::submit(const std::string& name, std::span<const PictureInput> pictures,
                                       const SubmitOptions& options) {
  const std::shared_ptr<Served> served = find(name);
  const ModelInfo& info = served->model->info();
  const PictureTransform& transform = transform_of(*served->model, name);
  std::shared_ptr<Ticket> ticket = start_ticket(*served, options);
  const auto count = static_cast<int64_t>(pictures.size());
  ticket->picture_floats_ = 3 * info.picture_width * info.picture_height;
  if (count > kMaxPictureNumbers / ticket->picture_floats_)
    throw Error(
        ErrorKind::kInvalidArgument,
        concat("the request has ", count, " pictures; this model takes at most ",
               kMaxPictureNumbers / ticket->picture_floats_, " at once; send them in several requests"),
        "request_too_large");
  const int64_t tokens = count * info.picture_tokens;
  if (options.admission == Admission::kRefuse && count > 0 &&
      refuse_uncounted(*served, *ticket, pictures.size(), tokens))
    return ticket;
  ticket->patches_ =
      std::make_unique_for_overwrite<float[]>(static_cast<size_t>(count * ticket->picture_floats_));
  PictureScratch scratch;
  for (size_t i = 0; i < pictures.size(); ++i) {
    float* const out = ticket->patches_.get() + static_cast<int64_t>(i) * ticket->picture_floats_;
    const PictureInput& input = pictures[i];
    if (input.planes)
      take_planes(transform, info, input, i, out);
    else
      transform.run(kernels().pixels, input.picture,
                    place(transform.shape, input.picture.width, input.picture.height), scratch, out);
    ticket->ids_.resize(ticket->ids_.size() + static_cast<size_t>(info.picture_tokens));
    end_sequence(*served, *ticket);
  }
  return enqueue(*served, std::move(ticket), options);
}

}  // namespace headrace
