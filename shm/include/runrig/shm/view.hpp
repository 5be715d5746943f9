#pragma once

#include <array>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

#include "runrig/shm/dtype.hpp"
#include "runrig/shm/handle.hpp"
#include "runrig/shm/mapping.hpp"
#include "runrig/shm/shape.hpp"
#include "runrig/shm/slice.hpp"

namespace runrig {

/// Steps from an element to its neighbour along each axis, in elements; negative where an axis runs backwards. Those
/// beyond the rank are zero.
using Strides = std::array<std::int64_t, max_rank>;

/// The strides of an array without gaps whose last axis is the fastest (C order); all zero if it has no elements.
/// Throws Error value_too_large if the elements cannot be counted.
[[nodiscard]] Strides row_major_strides(const Shape& shape);
/// The same with the first axis the fastest (Fortran order).
[[nodiscard]] Strides column_major_strides(const Shape& shape);
/// True if the elements lie without gaps in C order: strides of axes of extent 1 do not matter, and an array without
/// elements is contiguous.
[[nodiscard]] bool is_row_major(const Shape& shape, const Strides& strides) noexcept;

/// Names an array, or a part of one, to any process that may open its segment: a plain value of fixed size, to be
/// copied into shared memory, messages and captures. It keeps nothing alive.
struct ArrayHandle {
  SegmentHandle segment;
  std::uint64_t byte_offset = 0;  ///< from the segment's start to the element at (0, ..., 0)
  Shape shape;
  Strides strides{};
  DType dtype = DType::float64;
};
static_assert(std::is_trivially_copyable_v<ArrayHandle>);

/// An array of any element type, as it lies in this process. A plain value that owns nothing: valid while the mapping
/// under it is. What kernels, readers and writers are given.
struct AnyArrayRef {
  std::byte* data = nullptr;  ///< the element at (0, ..., 0); not to be written if access is read_only
  DType dtype = DType::float64;
  Access access = Access::read_only;
  Shape shape{};
  Strides strides{};
  SegmentHandle segment{};        ///< none for memory of this process only
  std::uint64_t byte_offset = 0;  ///< of `data` in the segment

  [[nodiscard]] std::uint64_t size() const noexcept { return shape.checked_elements().value_or(0); }
  [[nodiscard]] bool contiguous() const noexcept { return is_row_major(shape, strides); }
  /// Leads to the segment through this process, which must live, with the array that this is a part of, until the
  /// handle is used (or the name must be there). Throws std::logic_error if the memory belongs to this process only.
  [[nodiscard]] ArrayHandle handle() const;

  /// Part of this array: `count` of the first axis, from `first`. Throws std::out_of_range past the end or on a scalar.
  [[nodiscard]] AnyArrayRef rows(std::uint64_t first, std::uint64_t count) const;
  /// Every element of `slice` along `axis`. Throws std::out_of_range if there is no such axis.
  [[nodiscard]] AnyArrayRef slice(std::size_t axis, Slice slice) const;
  /// The elements at `index` of `axis`, which is left out: one axis less. Throws std::out_of_range.
  [[nodiscard]] AnyArrayRef select(std::size_t axis, std::uint64_t index) const;
};
static_assert(std::is_trivially_copyable_v<AnyArrayRef>);

/// The array that `handle` names, in a segment mapped at `segment`. Everything in the handle is checked
/// against the segment's size, overflow-safe, before there is a pointer: a handle may come from a broken process.
/// Throws Error value_too_large or invalid_argument (outside the segment, not aligned to its item size).
[[nodiscard]] AnyArrayRef bind_array(const ArrayHandle& handle, std::span<std::byte> segment, Access access);
/// For a segment mapped read-only.
[[nodiscard]] AnyArrayRef bind_array(const ArrayHandle& handle, std::span<const std::byte> segment);

namespace detail {
[[noreturn]] void throw_not_contiguous(const Shape& shape);
void check_view(const AnyArrayRef& ref, DType wanted, Access access);
void check_array(const AnyArrayRef& ref, DType wanted, std::string_view name);

/// The element at one index for each axis, of an array that is known to hold T.
template <class T, class... Index>
[[nodiscard]] T& element(const AnyArrayRef& ref, Index... index) noexcept {
  assert(sizeof...(Index) == ref.shape.rank());
  std::size_t axis = 0;
  std::int64_t offset = 0;
  ((assert(static_cast<std::uint64_t>(index) < ref.shape[axis]),
    offset += static_cast<std::int64_t>(index) * ref.strides[axis], ++axis),
   ...);
  static_cast<void>(axis);
  return reinterpret_cast<T*>(ref.data)[offset];
}
}  // namespace detail

/// A view of elements of type T: shape, strides and a pointer; const T for one that is only read.
///
/// A plain value that owns nothing: valid while the array under it is. Copying it copies no elements. It knows its
/// place in its segment, so handle() lets another process find the same elements. Access is not synchronised. Indices
/// are checked by assertions only, slices always.
template <Element T>
class NdView {
 public:
  using element_type = T;
  using value_type = std::remove_cv_t<T>;

  /// No elements: shape (0,).
  NdView() : NdView(nullptr, Shape{0}) {}
  /// Row-major elements in memory of this process only. Throws Error value_too_large.
  NdView(T* data, const Shape& shape) {
    ref_.data = bytes_of(data);
    ref_.dtype = dtype_of<T>;
    ref_.access = std::is_const_v<T> ? Access::read_only : Access::read_write;
    ref_.shape = shape;
    ref_.strides = row_major_strides(shape);
  }
  /// Throws std::logic_error for another element type, or if T is not const and `ref` is read-only.
  explicit NdView(const AnyArrayRef& ref) : ref_(checked(ref)) {}
  /// Whoever may write may also read.
  template <class U>
  requires(std::is_const_v<T>&& std::is_same_v<const U, T> && !std::is_const_v<U>) NdView(const NdView<U>& writable)
      : ref_(writable.ref()) {  // NOLINT(google-explicit-constructor)
    ref_.access = Access::read_only;
  }

  [[nodiscard]] T* data() const noexcept { return reinterpret_cast<T*>(ref_.data); }
  [[nodiscard]] const Shape& shape() const noexcept { return ref_.shape; }
  [[nodiscard]] const Strides& strides() const noexcept { return ref_.strides; }
  [[nodiscard]] std::size_t rank() const noexcept { return ref_.shape.rank(); }
  [[nodiscard]] std::uint64_t size() const noexcept { return ref_.size(); }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  [[nodiscard]] bool contiguous() const noexcept { return ref_.contiguous(); }

  /// The element at one index for each axis.
  template <std::convertible_to<std::uint64_t>... Index>
  [[nodiscard]] T& operator()(Index... index) const noexcept {
    return detail::element<T>(ref_, index...);
  }
  /// All elements in C order. Throws std::logic_error if they are not contiguous.
  [[nodiscard]] std::span<T> span() const {
    if (!contiguous()) detail::throw_not_contiguous(ref_.shape);
    return {data(), static_cast<std::size_t>(size())};
  }

  /// As those of AnyArrayRef.
  [[nodiscard]] NdView rows(std::uint64_t first, std::uint64_t count) const { return NdView(ref_.rows(first, count)); }
  [[nodiscard]] NdView slice(std::size_t axis, Slice slice) const { return NdView(ref_.slice(axis, slice)); }
  [[nodiscard]] NdView select(std::size_t axis, std::uint64_t index) const { return NdView(ref_.select(axis, index)); }

  [[nodiscard]] const AnyArrayRef& ref() const noexcept { return ref_; }
  [[nodiscard]] ArrayHandle handle() const { return ref_.handle(); }

 private:
  static std::byte* bytes_of(T* data) noexcept {
    return reinterpret_cast<std::byte*>(const_cast<value_type*>(data));  // access says what may be done with it
  }
  static const AnyArrayRef& checked(const AnyArrayRef& ref) {
    detail::check_view(ref, dtype_of<T>, std::is_const_v<T> ? Access::read_only : Access::read_write);
    return ref;
  }

  AnyArrayRef ref_;
};

}  // namespace runrig
