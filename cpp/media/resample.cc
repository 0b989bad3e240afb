#include "media/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace headrace {
namespace {

double reach_of(ResampleFilter filter) {
  return filter == ResampleFilter::kBilinear ? 1.0 : filter == ResampleFilter::kBicubic ? 2.0 : 3.0;
}

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= 3.14159265358979323846;
  return std::sin(x) / x;
}

double value_at(ResampleFilter filter, double x) {
  x = std::fabs(x);
  switch (filter) {
    case ResampleFilter::kBilinear:
      return x < 1.0 ? 1.0 - x : 0.0;
    case ResampleFilter::kBicubic: {
      constexpr double a = -0.5;
      if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
      return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
    }
    case ResampleFilter::kLanczos:
      break;
  }
  return x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
}

// To the nearest integer of kWeightBits, halves away from zero.
int32_t fixed_point(double weight) {
  const double scaled = weight * (1 << kWeightBits);
  return static_cast<int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

// A row that may be read a little beyond its end: itself, or a copy.
const uint8_t* with_slack(const uint8_t* row, int64_t row_bytes, const uint8_t* end,
                          std::vector<uint8_t>& copy) {
  if (end - row >= row_bytes + kRowSlack) return row;
  copy.resize(static_cast<size_t>(row_bytes + kRowSlack));
  std::memcpy(copy.data(), row, static_cast<size_t>(row_bytes));
  return copy.data();
}

void run_column(const PixelKernels& kernels, const ResampleAxis& rows, int64_t i, const uint8_t* first_row,
                int64_t ld, int64_t bytes, uint8_t* out) {
  const ResampleTaps taps = rows.taps();
  if (rows.is_copy())
    std::memcpy(out, first_row + (rows.begin() + i - rows.first_input()) * ld, static_cast<size_t>(bytes));
  else
    kernels.resample_column(first_row + (taps.first[i] - rows.first_input()) * ld, ld,
                            taps.high + i * taps.stride, taps.low + i * taps.stride, taps.taps[i], bytes,
                            out);
}

void run_row(const PixelKernels& kernels, const ResampleAxis& columns, const uint8_t* row, uint8_t* out) {
  if (columns.is_copy())
    std::memcpy(out, row + columns.begin() * 3, static_cast<size_t>(columns.outputs() * 3));
  else
    kernels.resample_row(row, columns.taps(), columns.outputs(), out);
}

}  // namespace

ResampleAxis::ResampleAxis(ResampleFilter filter, int64_t in, int64_t out, int64_t begin, int64_t end)
    : begin_(begin), shrinks_by_(in - out), is_copy_(in == out) {
  const auto count = static_cast<size_t>(end - begin);
  first_.resize(count);
  taps_.resize(count);
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double stretch = std::max(scale, 1.0), reach = reach_of(filter) * stretch;
  const auto most = std::min<int64_t>(in, static_cast<int64_t>(std::ceil(reach)) * 2 + 1);
  stride_ = (most + kTapStep - 1) / kTapStep * kTapStep;
  high_.resize(count * static_cast<size_t>(stride_));
  low_.resize(high_.size());
  std::vector<double> weights(static_cast<size_t>(most));
  first_input_ = in;
  for (size_t i = 0; i < count; ++i) {
    const double center = (static_cast<double>(begin) + static_cast<double>(i) + 0.5) * scale;
    const auto from = std::max<int64_t>(0, static_cast<int64_t>(center - reach + 0.5));
    const auto to = std::clamp<int64_t>(static_cast<int64_t>(center + reach + 0.5), from, in);
    const int64_t taps = std::min(to - from, most);
    double sum = 0;
    for (int64_t j = 0; j < taps; ++j) {
      const double weight =
          value_at(filter, (static_cast<double>(from + j) - center + 0.5) * (1.0 / stretch));
      weights[static_cast<size_t>(j)] = weight;
      sum += weight;
    }
    first_[i] = static_cast<int32_t>(from);
    taps_[i] = static_cast<int32_t>(taps);
    for (int64_t j = 0; j < taps; ++j) {
      const double weight = weights[static_cast<size_t>(j)];
      const int32_t fixed = fixed_point(sum != 0.0 ? weight / sum : weight);
      const int32_t high = (fixed + (1 << (kLowBits - 1))) >> kLowBits;
      const size_t at = i * static_cast<size_t>(stride_) + static_cast<size_t>(j);
      high_[at] = static_cast<int16_t>(high);
      low_[at] = static_cast<int16_t>(fixed - high * (1 << kLowBits));
    }
    first_input_ = std::min(first_input_, from);
    last_input_ = std::max(last_input_, from + taps);
  }
  first_input_ = std::min(first_input_, last_input_);
}

void resample(const PixelKernels& kernels, const Picture& picture, const ResampleAxis& columns,
              const ResampleAxis& rows, ResampleScratch& scratch, uint8_t* out, int64_t ld) {
  const int64_t row_bytes = picture.width * 3, out_bytes = columns.outputs() * 3;
  const int64_t first = rows.first_input(), last = rows.last_input();
  const uint8_t* const begin = picture.pixels + first * row_bytes;
  if (rows.shrinks_by() > 0 && 2 * columns.shrinks_by() < rows.shrinks_by()) {
    // What the columns look at, in its place in a row.
    const int64_t offset = columns.first_input() * 3;
    scratch.rows.resize(static_cast<size_t>(row_bytes + kRowSlack));
    for (int64_t i = 0; i < rows.outputs(); ++i) {
      run_column(kernels, rows, i, begin + offset, row_bytes, columns.last_input() * 3 - offset,
                 scratch.rows.data() + offset);
      run_row(kernels, columns, scratch.rows.data(), out + i * ld);
    }
    return;
  }
  if (columns.is_copy()) {
    for (int64_t i = 0; i < rows.outputs(); ++i)
      run_column(kernels, rows, i, begin + columns.begin() * 3, row_bytes, out_bytes, out + i * ld);
    return;
  }
  scratch.rows.resize(static_cast<size_t>((last - first) * out_bytes));
  const uint8_t* const end = picture.pixels + picture.height * row_bytes;
  for (int64_t y = first; y < last; ++y)
    run_row(kernels, columns, with_slack(picture.pixels + y * row_bytes, row_bytes, end, scratch.row),
            scratch.rows.data() + (y - first) * out_bytes);
  for (int64_t i = 0; i < rows.outputs(); ++i)
    run_column(kernels, rows, i, scratch.rows.data(), out_bytes, out_bytes, out + i * ld);
}

}  // namespace headrace
