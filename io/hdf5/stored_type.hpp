#pragma once

#include <hdf5.h>

#include <cstddef>
#include <span>
#include <string_view>

#include "library.hpp"
#include "runrig/hdf5/type.hpp"

namespace runrig::hdf5::detail {

/// Describes a type of a file as h5py does. `name` is whose it is, for errors.
[[nodiscard]] StoredType describe_type(hid_t type, std::string_view name);

/// Turns stored elements into those of StoredType::dtype in the machine's order.
class ElementConversion {
 public:
  ElementConversion() = default;
  /// `type` must be numeric.
  ElementConversion(hid_t type, const StoredType& stored, std::string_view name);

  /// True if nothing is to be done: the stored bytes are the elements.
  [[nodiscard]] bool is_identity() const noexcept { return direct_ && !swapped_ && dtype_ != DType::boolean; }
  /// Bytes that convert() needs per element: the larger of both sizes.
  [[nodiscard]] std::size_t room_bytes() const noexcept { return room_bytes_; }
  /// In place: `count` stored elements at `elements`, packed, become `count` packed elements of dtype.
  void convert(std::byte* elements, std::size_t count) const;

 private:
  DType dtype_ = DType::float64;
  bool direct_ = true;
  bool swapped_ = false;
  std::size_t parts_ = 1;       // of an element: a complex one is two floats
  std::size_t part_bytes_ = 0;  // stored
  std::size_t room_bytes_ = 0;
  Id stored_type_;  // not direct: what the library converts from (an enum's integers) and to
  Id memory_type_;
};

}  // namespace runrig::hdf5::detail
