#pragma once

#include <hdf5.h>

#include <cstddef>
#include <memory>
#include <string_view>

#include "runrig/hdf5/file.hpp"

namespace runrig::hdf5::detail {

/// Stored elements into the numbers that they mean, as netCDF's conventions have it: missing ones are NaN, the others
/// unpacked. What attributes say which is told with ReadOptions::conventions.
class Unpacking {
 public:
  virtual ~Unpacking() = default;
  /// The dataset as one of unpacked elements: its type and fill value are theirs.
  [[nodiscard]] virtual const DatasetInfo& info() const noexcept = 0;
  /// `count` packed elements of the stored dtype, in the machine's order, to as many of info().type.dtype. Any
  /// alignment. The unpacked ones are at least as large, and the two may overlap where the packed ones end together
  /// with the unpacked ones.
  virtual void unpack(const std::byte* packed, std::byte* out, std::size_t count) const = 0;

 protected:
  Unpacking() = default;
};

/// None if the dataset has nothing to be unpacked or masked. `stored` describes it as it is. Throws FormatError for
/// attributes that make no sense.
[[nodiscard]] std::unique_ptr<Unpacking> find_unpacking(hid_t dataset, const DatasetInfo& stored,
                                                        std::string_view name);

}  // namespace runrig::hdf5::detail
