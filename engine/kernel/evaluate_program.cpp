#include "evaluate_program.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <string>

#include "../pool/pool_state.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::detail {
namespace {

std::size_t array_bytes(DType dtype, const Shape& shape) {
  const auto size = shape.checked_bytes(item_bytes(dtype));
  if (!size) throw Error(std::errc::value_too_large, "evaluate an array of shape", to_string(shape));
  return std::max<std::size_t>(*size, 1);
}

}  // namespace

TemporaryArray::TemporaryArray(Pool& pool, DType dtype, const Shape& shape)
    : block_(PoolAccess::usable_state(pool, "evaluate").options.arena->allocate(array_bytes(dtype, shape))) {
  refer(block_.data(), dtype, shape);
}
TemporaryArray::TemporaryArray(Threads& /*threads*/, DType dtype, const Shape& shape)
    : owned_(std::make_unique<std::uint64_t[]>(array_bytes(dtype, shape) / 8 + 1)) {
  refer(reinterpret_cast<std::byte*>(owned_.get()), dtype, shape);
}
void TemporaryArray::refer(std::byte* data, DType dtype, const Shape& shape) {
  ref_.data = data;
  ref_.dtype = dtype;
  ref_.access = Access::read_write;
  ref_.shape = shape;
  ref_.strides = row_major_strides(shape);
}

std::byte* thread_scratch(std::size_t bytes) {
  thread_local std::unique_ptr<std::byte[]> memory;
  thread_local std::size_t size = 0;
  if (size < bytes) {
    memory.reset();
    size = 0;
    memory = std::make_unique<std::byte[]>(bytes + 63);
    size = bytes;
  }
  return memory.get() + (64 - reinterpret_cast<std::uintptr_t>(memory.get()) % 64) % 64;
}

std::vector<std::size_t> natural_order(std::size_t rank) {
  std::vector<std::size_t> order(rank);
  std::iota(order.begin(), order.end(), std::size_t{0});
  return order;
}

std::vector<OperandAxis> walk_axes(const AnyArrayRef& array, const Shape& shape, std::span<const std::size_t> order) {
  const auto refuse = [&] {
    throw std::logic_error("evaluate: an input of shape " + to_string(array.shape) +
                           " cannot be broadcast to the result's " + to_string(shape));
  };
  if (array.shape.rank() > shape.rank()) refuse();
  const std::size_t missing = shape.rank() - array.shape.rank();
  std::array<std::int64_t, max_rank> steps{};
  auto stride = static_cast<std::int64_t>(item_bytes(array.dtype));
  for (std::size_t axis = shape.rank(); axis-- > 0;) {
    const std::uint64_t own = axis < missing ? 1 : array.shape[axis - missing];
    if (own != shape[axis] && own != 1) refuse();
    steps[axis] = own == 1 ? 0 : stride;
    stride *= static_cast<std::int64_t>(own);
  }
  std::vector<OperandAxis> axes;
  for (std::size_t i = order.size(); i-- > 0;) {  // from the fastest on
    const std::uint64_t extent = shape[order[i]];
    if (extent == 1) continue;
    const std::int64_t step = steps[order[i]];
    if (!axes.empty() && step == axes.back().stride_bytes * static_cast<std::int64_t>(axes.back().extent)) {
      axes.back().extent *= extent;
    } else {
      axes.push_back({extent, step});
    }
  }
  const bool as_it_lies =
      axes.empty() || (axes.size() == 1 && axes[0].stride_bytes == static_cast<std::int64_t>(item_bytes(array.dtype)));
  if (as_it_lies) return {};
  std::reverse(axes.begin(), axes.end());
  return axes;
}

void ProgramOnArrays::add(const FlatArray& flat, const AnyArrayRef& array, std::span<const std::size_t> order) {
  const std::vector<OperandAxis> own = walk_axes(array, shape_, order);
  ProgramInput input;
  input.array = flat;
  input.item = static_cast<std::uint32_t>(item_bytes(array.dtype));
  input.scalar = array.size() == 1 && shape_.elements() != 1;
  if (!input.scalar) {
    input.first_axis = static_cast<std::uint32_t>(axes_.size());
    input.axes = static_cast<std::uint32_t>(own.size());
    axes_.insert(axes_.end(), own.begin(), own.end());
  }
  inputs_.push_back(input);
  if (item_bytes(array.dtype) > item_bytes(widest_)) widest_ = array.dtype;
}

SlicePlan ProgramOnArrays::plan(std::uint64_t slice_elements) const {
  AnyArrayRef widest;
  widest.dtype = item_bytes(widest_) > item_bytes(program_.result()) ? widest_ : program_.result();
  widest.shape = shape_;
  widest.strides = row_major_strides(shape_);
  return plan_slices(std::array{widest}, slice_elements);
}

std::size_t ProgramOnArrays::told_bytes() const noexcept {
  return padded(inputs_.size() * sizeof(ProgramInput)) + padded(axes_.size() * sizeof(OperandAxis)) +
         padded(program_.code().size());
}

ToldProgram ProgramOnArrays::tell(std::byte* to) const {
  const auto put = [&to](const void* from, std::size_t bytes) {
    std::byte* const here = to;
    if (bytes != 0) std::memcpy(here, from, bytes);
    to += padded(bytes);
    return here;
  };
  ToldProgram told;
  told.inputs = reinterpret_cast<const ProgramInput*>(put(inputs_.data(), inputs_.size() * sizeof(ProgramInput)));
  told.axes = reinterpret_cast<const OperandAxis*>(put(axes_.data(), axes_.size() * sizeof(OperandAxis)));
  told.code = put(program_.code().data(), program_.code().size());
  told.input_count = inputs_.size();
  told.code_bytes = program_.code().size();
  told.program_scratch = program_.scratch_bytes();
  told.result = program_.result();
  return told;
}

}  // namespace runrig::detail
