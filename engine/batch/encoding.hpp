#pragma once

#include <string>

#include "runrig/channel/object.hpp"
#include "runrig/engine/statistics.hpp"
#include "runrig/hdf5/file.hpp"
#include "runrig/hdf5/output.hpp"
#include "runrig/hdf5/repack.hpp"

/// What workers report, as pickles. Decoding checks everything: a worker in which the HDF5 library went wild is an
/// outsider. decode_...() throw FormatError.
namespace runrig::batch {

[[nodiscard]] pickle::Object encode(const Shape& shape);
[[nodiscard]] Shape decode_shape(const pickle::Object& object);

[[nodiscard]] pickle::Object encode(const hdf5::DatasetInfo& info);
[[nodiscard]] hdf5::DatasetInfo decode_dataset(const pickle::Object& object);

[[nodiscard]] pickle::Object encode(const hdf5::ObjectInfo& info);
[[nodiscard]] hdf5::ObjectInfo decode_object(const pickle::Object& object);

[[nodiscard]] pickle::Object encode(const Statistics& statistics);
[[nodiscard]] Statistics decode_statistics(const pickle::Object& object);

/// What the parent tells the writer and the workers.
[[nodiscard]] pickle::Object encode(const hdf5::OutputSpec& spec);
[[nodiscard]] hdf5::OutputSpec decode_output(const pickle::Object& object);

/// What the writer leaves to the workers.
[[nodiscard]] pickle::Object encode(const hdf5::RepackDataset& dataset);
[[nodiscard]] hdf5::RepackDataset decode_repack(const pickle::Object& object);

/// What the parent wants of it.
[[nodiscard]] pickle::Object encode(const hdf5::RepackOptions& options);
[[nodiscard]] hdf5::RepackOptions decode_repack_options(const pickle::Object& object);

/// Names in HDF5 files are bytes, strings in pickles are text: encoded so that any bytes survive.
[[nodiscard]] pickle::Object encode_text(const std::string& bytes);
[[nodiscard]] std::string decode_text(const pickle::Object& object);

}  // namespace runrig::batch
