#pragma once

#include <hdf5.h>

#include <string>
#include <vector>

#include "runrig/hdf5/file.hpp"

namespace runrig::hdf5::detail {

inline constexpr int lzf_id = 32000;  // registered with the HDF Group by h5py

/// The filters of a dataset creation property list. `name` is the dataset's, for errors.
[[nodiscard]] std::vector<FilterInfo> read_filters(hid_t properties, std::string_view name);
/// The name for people, with its main parameter: "deflate-4", "szip", "filter 32008".
[[nodiscard]] std::string filter_name(int id, const std::vector<unsigned>& parameters, std::string_view stored);

/// Teaches the library the codecs that Debian's build does not have, h5py's LZF and those of block_codec.hpp: it then
/// decodes and encodes them everywhere.
void register_codecs();

}  // namespace runrig::hdf5::detail
