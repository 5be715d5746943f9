#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include "runrig/shm/anonymous_memory.hpp"
#include "runrig/shm/dtype.hpp"
#include "runrig/shm/shape.hpp"
#include "runrig/shm/shared_memory.hpp"
#include "runrig/shm/view.hpp"

namespace runrig {

/// A numeric array in shared memory whose element type is known at run time only. NdArray<T> is the same with the type
/// in C++. Move-only; the destructor unmaps.
///
/// A *named* array is a segment that is a valid .npy file: `numpy.load("/dev/shm/NAME", mmap_mode="r+")` opens it. The
/// name appears when the array is complete, and stays until unlink(); if its creator is killed first, the resource
/// tracker unlinks it. An *anonymous* array has the same bytes in a sealed memfd and vanishes with its last user.
/// Elements are zero at first. Pages are reserved at creation, so a full file system is an error then.
///
/// Attaching reads the header once, by pread, and checks all of it against the real size before there is a pointer;
/// afterwards the header is never looked at again, so a peer that rewrites it changes nothing here. A peer that
/// *truncates* a named segment in use is the one thing that cannot be helped (SIGBUS); anonymous arrays are sealed
/// against it.
///
/// One object must not be moved or destroyed while another thread uses it; elements are not synchronised at all.
class AnyArray {
 public:
  /// Creates the named array. Throws Error: file_exists, no_space_on_device, invalid_argument (not a plain name),
  /// value_too_large (a shape whose bytes cannot be counted).
  [[nodiscard]] static AnyArray create(std::string_view name, DType dtype, const Shape& shape);
  /// With a name of its own making, which no other segment has: see name().
  [[nodiscard]] static AnyArray create(DType dtype, const Shape& shape);
  [[nodiscard]] static AnyArray create_anonymous(DType dtype, const Shape& shape);

  /// Maps an existing .npy segment: made here, by numpy.lib.format.open_memmap, or copied there. Fortran order
  /// is understood, as strides. Throws Error no_such_file_or_directory, permission_denied and the like;
  /// FormatError for what is not a .npy file with data of one of our types in native order.
  [[nodiscard]] static AnyArray attach(std::string_view name, Access access = Access::read_write);
  /// Maps what a handle names, any part of any array, wherever the handle came from. name() is empty. Throws Error:
  /// no_such_file_or_directory if the segment is gone, invalid_argument or value_too_large if the handle
  /// is not true.
  [[nodiscard]] static AnyArray attach(const ArrayHandle& handle, Access access = Access::read_write);
  /// Maps a segment without header, as Python programs make them with SharedMemory(name, create=True, size=...):
  /// row-major elements from `byte_offset` on. Throws Error invalid_argument if they reach past the end or are not
  /// aligned.
  [[nodiscard]] static AnyArray attach_plain(std::string_view name, DType dtype, const Shape& shape,
                                             std::size_t byte_offset = 0, Access access = Access::read_write);

  [[nodiscard]] DType dtype() const noexcept { return ref_.dtype; }
  [[nodiscard]] const Shape& shape() const noexcept { return ref_.shape; }
  [[nodiscard]] const Strides& strides() const noexcept { return ref_.strides; }
  [[nodiscard]] std::size_t rank() const noexcept { return ref_.shape.rank(); }
  [[nodiscard]] std::uint64_t size() const noexcept { return ref_.size(); }  ///< elements
  [[nodiscard]] Access access() const noexcept { return ref_.access; }

  /// What kernels, readers and writers are given; valid while this object is.
  [[nodiscard]] const AnyArrayRef& ref() const noexcept { return ref_; }
  /// Throws std::logic_error for another element type, or for a T that is not const if attached read_only.
  template <Element T>
  [[nodiscard]] NdView<T> view() const {
    return NdView<T>(ref_);
  }
  /// Another process attaches this; it must do so while this object, or another mapping of the segment, exists.
  [[nodiscard]] ArrayHandle handle() const;

  /// Puts the elements into huge pages, as far as the system gives them: for large arrays that kernels go through more
  /// than once. Best before they are filled; see AnonymousMemory::use_huge_pages(), and so for what it costs, returns
  /// and throws.
  std::size_t use_huge_pages();
  /// Empty for anonymous arrays and for those attached by handle.
  [[nodiscard]] std::string name() const;
  /// Removes the name, if it is still this segment's; mappings, ours too, stay valid. Throws std::logic_error
  /// if there is no name, Error no_such_file_or_directory if it is gone already.
  void unlink();
  /// Keeps the segment when nobody uses it any more; see SharedMemory::persist().
  void persist();

 private:
  friend class SharedMemoryManager;
  using Memory = std::variant<SharedMemory, AnonymousMemory, SegmentMapping>;

  static AnyArray make(DType dtype, const Shape& shape, const detail::MakeSegment& make_segment);
  AnyArray(Memory memory, const AnyArrayRef& ref) : memory_(std::move(memory)), ref_(ref) {}

  Memory memory_;
  AnyArrayRef ref_;
};

/// A numeric array in shared memory: AnyArray with element type T, and always without gaps in C order.
///
///     auto speed = runrig::NdArray<float>::create("speed", u.shape());
///     speed(3, 4) = 1.5F;
///
/// A const array gives out const elements. If it was attached read_only, the writing accessors throw std::logic_error:
/// use it through a const reference, cview() or cspan().
template <Element T>
requires(!std::is_const_v<T>) class NdArray {
 public:
  using value_type = T;

  /// As those of AnyArray. Those that attach also throw FormatError for another dtype or for an array with gaps or in
  /// Fortran order, which AnyArray::attach() takes.
  [[nodiscard]] static NdArray create(std::string_view name, const Shape& shape) {
    return NdArray(AnyArray::create(name, dtype_of<T>, shape));
  }
  [[nodiscard]] static NdArray create(const Shape& shape) { return NdArray(AnyArray::create(dtype_of<T>, shape)); }
  [[nodiscard]] static NdArray create_anonymous(const Shape& shape) {
    return NdArray(AnyArray::create_anonymous(dtype_of<T>, shape));
  }
  [[nodiscard]] static NdArray attach(std::string_view name, Access access = Access::read_write) {
    return NdArray(AnyArray::attach(name, access), name);
  }
  [[nodiscard]] static NdArray attach(const ArrayHandle& handle, Access access = Access::read_write) {
    return NdArray(AnyArray::attach(handle, access), "handle");
  }
  [[nodiscard]] static NdArray attach_plain(std::string_view name, const Shape& shape, std::size_t byte_offset = 0,
                                            Access access = Access::read_write) {
    return NdArray(AnyArray::attach_plain(name, dtype_of<T>, shape, byte_offset, access));
  }
  /// Takes over an array of unknown type. Throws FormatError as attach() does.
  explicit NdArray(AnyArray array) : NdArray(std::move(array), "array") {}

  [[nodiscard]] const Shape& shape() const noexcept { return array_.shape(); }
  [[nodiscard]] std::size_t rank() const noexcept { return array_.rank(); }
  [[nodiscard]] std::uint64_t size() const noexcept { return array_.size(); }  ///< elements
  [[nodiscard]] Access access() const noexcept { return array_.access(); }

  [[nodiscard]] T* data() { return reinterpret_cast<T*>(writable().data); }
  [[nodiscard]] const T* data() const noexcept { return reinterpret_cast<const T*>(array_.ref().data); }
  [[nodiscard]] std::span<T> span() { return {data(), static_cast<std::size_t>(size())}; }
  [[nodiscard]] std::span<const T> span() const noexcept { return cspan(); }
  [[nodiscard]] std::span<const T> cspan() const noexcept { return {data(), static_cast<std::size_t>(size())}; }
  [[nodiscard]] std::span<std::byte> bytes() { return std::as_writable_bytes(span()); }
  [[nodiscard]] std::span<const std::byte> bytes() const { return std::as_bytes(span()); }

  template <std::convertible_to<std::uint64_t>... Index>
  [[nodiscard]] T& operator()(Index... index) {
    return detail::element<T>(writable(), index...);
  }
  template <std::convertible_to<std::uint64_t>... Index>
  [[nodiscard]] const T& operator()(Index... index) const {
    return detail::element<const T>(array_.ref(), index...);
  }

  /// Views are valid while this object is.
  [[nodiscard]] NdView<T> view() { return NdView<T>(array_.ref()); }
  [[nodiscard]] NdView<const T> view() const { return cview(); }
  [[nodiscard]] NdView<const T> cview() const { return NdView<const T>(array_.ref()); }
  [[nodiscard]] NdView<T> rows(std::uint64_t first, std::uint64_t count) { return view().rows(first, count); }
  [[nodiscard]] NdView<const T> rows(std::uint64_t first, std::uint64_t count) const {
    return cview().rows(first, count);
  }
  [[nodiscard]] NdView<T> slice(std::size_t axis, Slice slice) { return view().slice(axis, slice); }
  [[nodiscard]] NdView<const T> slice(std::size_t axis, Slice slice) const { return cview().slice(axis, slice); }

  [[nodiscard]] const AnyArrayRef& ref() const noexcept { return array_.ref(); }
  [[nodiscard]] ArrayHandle handle() const { return array_.handle(); }
  std::size_t use_huge_pages() { return array_.use_huge_pages(); }  ///< as AnyArray's
  [[nodiscard]] std::string name() const { return array_.name(); }
  void unlink() { array_.unlink(); }
  void persist() { array_.persist(); }
  /// The same array without its type.
  [[nodiscard]] const AnyArray& any() const noexcept { return array_; }

 private:
  NdArray(AnyArray array, std::string_view name) : array_(std::move(array)) {
    detail::check_array(array_.ref(), dtype_of<T>, name);
  }

  const AnyArrayRef& writable() const {
    if (array_.access() == Access::read_only) detail::check_view(array_.ref(), dtype_of<T>, Access::read_write);
    return array_.ref();
  }

  AnyArray array_;
};

}  // namespace runrig
