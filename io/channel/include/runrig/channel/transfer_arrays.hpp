#pragma once

#include <type_traits>

#include "runrig/channel/transfer_types.hpp"
#include "runrig/shm/complex.hpp"
#include "runrig/shm/nd_array.hpp"

/// Arrays that cross by value. (An NdArray by itself crosses by its handle, and no element is copied: for processes of
/// one machine that have this library.)
namespace runrig {

/// An array that crosses as a numpy.ndarray with all its elements: for Python, and for other machines. What arrives is
/// an anonymous NdArray. Owns nothing: the array must stay until the pickle is made, and where its bytes go beside the
/// pickle, until those are sent.
///
///     connection.send(by_value(array));
///     NdArray<double> array = connection.recv<ByValue<double>>();
template <Element T>
requires(!std::is_const_v<T>) struct ByValue {
  NdView<const T> view;
};

template <Element T>
[[nodiscard]] ByValue<T> by_value(const NdArray<T>& array) {
  return {array.cview()};
}
template <Element T>
[[nodiscard]] ByValue<std::remove_const_t<T>> by_value(const NdView<T>& view) {
  return {view};
}

template <Element T>
struct Transfer<ByValue<T>> {
  static void write(pickle::Encoder& encoder, const ByValue<T>& array) {
    const NdView<const T>& view = array.view;
    if (view.contiguous()) {
      encoder.array(dtype_string(dtype_of<T>), view.shape(), pickle::Order::c, {std::as_bytes(view.span())});
    } else {
      const auto copy = pickle::NdBuffer::copy_of(view.ref());
      encoder.array(copy.dtype(), copy.shape(), copy.order(), copy.buffer());
    }
  }
  static NdArray<T> read(pickle::Decoder& decoder) {
    const auto found = decoder.array_of(dtype_of<T>);
    decoder.charge(found.bytes().size());
    auto array = NdArray<T>::create_anonymous(found.shape());
    found.copy_to(array.ref());
    return array;
  }
};

}  // namespace runrig
