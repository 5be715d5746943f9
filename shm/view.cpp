#include "runrig/shm/view.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "runrig/sync/error.hpp"

namespace runrig {
namespace {

constexpr std::string_view attempt = "find the array of a handle in its segment:";

// How far the elements reach from the one at (0, ..., 0), in bytes.
struct Reach {
  std::int64_t before = 0;  // not positive
  std::int64_t after = 0;   // to the end of the last element
};

std::optional<Reach> reach_of(const Shape& shape, const Strides& strides, std::size_t item) {
  Reach reach;
  for (std::size_t axis = 0; axis < shape.rank(); ++axis) {
    std::int64_t elements = 0;
    std::int64_t bytes = 0;
    if (__builtin_mul_overflow(shape[axis] - 1, strides[axis], &elements) ||
        __builtin_mul_overflow(elements, item, &bytes)) {
      return std::nullopt;
    }
    std::int64_t& side = bytes < 0 ? reach.before : reach.after;
    if (__builtin_add_overflow(side, bytes, &side)) return std::nullopt;
  }
  if (__builtin_add_overflow(reach.after, item, &reach.after)) return std::nullopt;
  return reach;
}

AnyArrayRef moved(const AnyArrayRef& ref, std::size_t axis, std::uint64_t first) {
  AnyArrayRef result = ref;
  if (ref.size() == 0) return result;  // no element to point at, and strides of zero
  // Both fit: the element that is pointed at lies in the array, whose bytes were counted in 63 bits.
  const auto bytes =
      static_cast<std::int64_t>(first) * ref.strides[axis] * static_cast<std::int64_t>(item_bytes(ref.dtype));
  result.data += bytes;
  result.byte_offset += static_cast<std::uint64_t>(bytes);  // modulo 2^64, as the sum is not negative
  return result;
}

void check_axis(const AnyArrayRef& ref, std::size_t axis) {
  if (axis >= ref.shape.rank()) {
    throw std::out_of_range("no axis " + std::to_string(axis) + " in an array of shape " + to_string(ref.shape));
  }
}

Strides dense_strides(const Shape& shape, bool last_is_fastest) {
  Strides strides{};
  if (shape.elements() == 0) return strides;
  std::int64_t step = 1;
  for (std::size_t i = 0; i < shape.rank(); ++i) {
    const std::size_t axis = last_is_fastest ? shape.rank() - 1 - i : i;
    strides[axis] = step;
    if (__builtin_mul_overflow(step, shape[axis], &step)) {
      throw Error(std::errc::value_too_large, "lay out an array of shape", to_string(shape));
    }
  }
  return strides;
}

[[noreturn]] void refuse(std::errc code, const std::string& why) { throw Error(code, attempt, why); }

}  // namespace

Strides row_major_strides(const Shape& shape) { return dense_strides(shape, true); }
Strides column_major_strides(const Shape& shape) { return dense_strides(shape, false); }

bool is_row_major(const Shape& shape, const Strides& strides) noexcept {
  if (std::find(shape.begin(), shape.end(), 0U) != shape.end()) return true;
  std::uint64_t expected = 1;
  for (std::size_t axis = shape.rank(); axis-- > 0;) {
    if (shape[axis] == 1) continue;
    if (static_cast<std::uint64_t>(strides[axis]) != expected) return false;
    expected *= shape[axis];  // at most the number of elements, as long as the strides so far were dense
  }
  return true;
}

ArrayHandle AnyArrayRef::handle() const {
  if (!segment) throw std::logic_error("handle(): this memory belongs to one process only");
  ArrayHandle handle{segment, byte_offset, shape, strides, dtype};
  // A forked child has its parent's descriptors: if this one is still the segment's, the handle goes through the child,
  // for the parent may be gone before it is used.
  struct stat status {};
  if (segment.pid != ::getpid() && ::fstat(segment.fd, &status) == 0 &&
      SegmentId{status.st_dev, status.st_ino} == segment.id) {
    handle.segment.pid = ::getpid();
  }
  return handle;
}

AnyArrayRef AnyArrayRef::rows(std::uint64_t first, std::uint64_t count) const {
  check_axis(*this, 0);
  if (first > shape[0] || count > shape[0] - first) {
    throw std::out_of_range("rows from " + std::to_string(first) + ", " + std::to_string(count) +
                            " of them, in an array of shape " + to_string(shape));
  }
  // At first == extent there are no rows, and no element to point at.
  AnyArrayRef result = count == 0 ? *this : moved(*this, 0, first);
  result.shape[0] = count;
  return result;
}

AnyArrayRef AnyArrayRef::slice(std::size_t axis, Slice slice) const {
  check_axis(*this, axis);
  const Slice::Resolved resolved = slice.resolve(shape[axis]);
  AnyArrayRef result = moved(*this, axis, resolved.first);
  result.shape[axis] = resolved.count;
  // With one element or none the step may be anything, too large to multiply as well.
  if (resolved.count > 1) result.strides[axis] *= resolved.step;
  return result;
}

AnyArrayRef AnyArrayRef::select(std::size_t axis, std::uint64_t index) const {
  check_axis(*this, axis);
  if (index >= shape[axis]) {
    throw std::out_of_range("index " + std::to_string(index) + " of axis " + std::to_string(axis) +
                            " in an array of shape " + to_string(shape));
  }
  AnyArrayRef result = moved(*this, axis, index);
  result.shape = Shape{};
  result.strides = {};
  for (std::size_t each = 0; each < shape.rank(); ++each) {
    if (each == axis) continue;
    result.strides[result.shape.rank()] = strides[each];
    result.shape.push_back(shape[each]);
  }
  return result;
}

AnyArrayRef bind_array(const ArrayHandle& handle, std::span<std::byte> segment, Access access) {
  // Rank and dtype first: they index arrays below, and came as bare bytes.
  if (handle.shape.rank() > max_rank || static_cast<std::size_t>(handle.dtype) >= dtype_count) {
    refuse(std::errc::invalid_argument, "it has no such rank or dtype");
  }
  const std::size_t item = item_bytes(handle.dtype);
  AnyArrayRef ref{segment.data(), handle.dtype,      access, handle.shape, handle.strides,
                  handle.segment, handle.byte_offset};
  const auto elements = handle.shape.checked_elements();
  if (!elements || !handle.shape.checked_bytes(item)) {
    refuse(std::errc::value_too_large, "shape " + to_string(handle.shape));
  }
  if (handle.byte_offset > segment.size() || handle.byte_offset % item != 0) {
    refuse(std::errc::invalid_argument,
           "it begins at byte " + std::to_string(handle.byte_offset) + " of " + std::to_string(segment.size()));
  }
  if (*elements == 0) {
    ref.strides = {};
  } else {
    const auto reach = reach_of(handle.shape, handle.strides, item);
    if (!reach) refuse(std::errc::value_too_large, "its strides overflow");
    // Compared by subtraction, and unsigned: no sum can wrap.
    const std::uint64_t before = 0 - static_cast<std::uint64_t>(reach->before);
    if (before > handle.byte_offset || static_cast<std::uint64_t>(reach->after) > segment.size() - handle.byte_offset) {
      refuse(std::errc::invalid_argument, "shape " + to_string(handle.shape) + " reaches outside the segment's " +
                                              std::to_string(segment.size()) + " bytes");
    }
  }
  ref.data += handle.byte_offset;
  return ref;
}

AnyArrayRef bind_array(const ArrayHandle& handle, std::span<const std::byte> segment) {
  // The access recorded in the result keeps the promise that the type made.
  return bind_array(handle, {const_cast<std::byte*>(segment.data()), segment.size()}, Access::read_only);
}

namespace detail {

void throw_not_contiguous(const Shape& shape) {
  throw std::logic_error("span(): the elements of this view of shape " + to_string(shape) + " are not contiguous");
}

void check_view(const AnyArrayRef& ref, DType wanted, Access access) {
  if (ref.dtype != wanted) {
    throw std::logic_error("view an array of " + std::string(dtype_name(ref.dtype)) + " as " +
                           std::string(dtype_name(wanted)));
  }
  if (access == Access::read_write && ref.access == Access::read_only) {
    throw std::logic_error("write to an array that is read-only here");
  }
}

void check_array(const AnyArrayRef& ref, DType wanted, std::string_view name) {
  if (ref.dtype != wanted) {
    throw FormatError(
        "attach array", name,
        "its elements are " + std::string(dtype_name(ref.dtype)) + ", not " + std::string(dtype_name(wanted)));
  }
  if (!ref.contiguous()) {
    throw FormatError("attach array", name,
                      "its elements are in Fortran order or have gaps; AnyArray::attach() takes it");
  }
}

}  // namespace detail
}  // namespace runrig
