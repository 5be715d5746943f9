#pragma once

#include <string>
#include <type_traits>
#include <utility>

#include "runrig/channel/transfer_types.hpp"
#include "runrig/shm/nd_array.hpp"
#include "runrig/sync/error.hpp"

/// How views of arrays in shared memory cross. (What owns its memory, such as NdArray and SharedMemory, has a handle()
/// and an attach(), and needs no more.)
namespace runrig {

/// A view and the mapping under it: what an NdView arrives as. Move-only; views made from it are valid while it is.
template <Element T>
class OwnedView : public NdView<T> {
 public:
  /// Throws std::logic_error for another element type, or if T is not const and `array` is read-only.
  explicit OwnedView(AnyArray array) : NdView<T>(array.ref()), array_(std::move(array)) {}
  /// Any part of any array; read-only for a const T. Throws as AnyArray::attach() does; FormatError for another element
  /// type.
  [[nodiscard]] static OwnedView attach(const ArrayHandle& handle) {
    AnyArray array = AnyArray::attach(handle, std::is_const_v<T> ? Access::read_only : Access::read_write);
    if (array.dtype() != dtype_of<T>) {
      throw FormatError("attach array", "handle",
                        "its elements are " + std::string(dtype_name(array.dtype())) + ", not " +
                            std::string(dtype_name(dtype_of<T>)));
    }
    return OwnedView(std::move(array));
  }

  [[nodiscard]] const AnyArray& array() const noexcept { return array_; }

 private:
  AnyArray array_;  // moving it moves no elements, so the view stays true
};

/// Arrives as OwnedView. Throws std::logic_error for a view of memory of this process only.
template <Element T>
struct Transfer<NdView<T>> {
  static void write(pickle::Encoder& encoder, const NdView<T>& view) { detail::write_bytes(encoder, view.handle()); }
  static OwnedView<T> read(pickle::Decoder& decoder) {
    return OwnedView<T>::attach(detail::read_bytes<ArrayHandle>(decoder));
  }
};

/// Arrives as AnyArray.
template <>
struct Transfer<AnyArrayRef> {
  static void write(pickle::Encoder& encoder, const AnyArrayRef& view) { detail::write_bytes(encoder, view.handle()); }
  static AnyArray read(pickle::Decoder& decoder) { return AnyArray::attach(detail::read_bytes<ArrayHandle>(decoder)); }
};

}  // namespace runrig
