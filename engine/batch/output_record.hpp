#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "file_version.hpp"
#include "runrig/batch/reduce.hpp"
#include "runrig/batch/session.hpp"

/// What an output was made of, so that a later run can tell whether it need be made again.
///
/// The record is the last 256 bytes of the file, behind all that HDF5 knows of: in no dataset and no attribute, so that
/// outputs are what they would be without it, and there under the output's name at the same moment as the output. Every
/// reader passes over it; and the HDF5 library, when it has had a file open for writing, cuts the file where its own
/// data ends: who changes an output takes the record away. It holds no names, only digests.
namespace runrig::batch {

struct OutputRecord {
  std::string request;  // digest of all that was asked for
  std::string inputs;   // digest of the versions of all files that were read
  std::string version;  // of this program

  friend bool operator==(const OutputRecord&, const OutputRecord&) = default;
};

inline constexpr std::size_t record_bytes = 256;
/// Whether elements of such a dataset lie in other files than the one that it is in.
[[nodiscard]] constexpr bool lies_elsewhere(hdf5::Layout layout) {
  return layout == hdf5::Layout::virtual_sources || layout == hdf5::Layout::external_files;
}

/// The record as it is put behind a file of `file_bytes` bytes.
[[nodiscard]] std::string record_text(const OutputRecord& record, std::uint64_t file_bytes);
/// The record of a file; none if it has none, or is not as long as it was when it got it. Throws Error if the file
/// cannot be read.
[[nodiscard]] std::optional<OutputRecord> read_record(const std::string& path);

/// All that changes what an output holds, other than the files read, as one text: what is added to a request goes in
/// here, or --resume takes outputs for finished that are of another request.
[[nodiscard]] std::string request_text(const MapRequest& request, const Options& options);
[[nodiscard]] std::string request_text(const ReduceRequest& request, const Options& options);
[[nodiscard]] std::string request_text(const RepackRequest& request);

/// The record of what is made by `request`, a text as above, of these files.
[[nodiscard]] OutputRecord make_record(std::string_view request, const std::vector<FileVersion>& inputs);

}  // namespace runrig::batch
