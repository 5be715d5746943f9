#include "dataset_info.hpp"

#include <array>
#include <string>

#include "filters.hpp"
#include "stored_type.hpp"

namespace runrig::hdf5::detail {
namespace {

constexpr std::string_view attempt = "open dataset";
static_assert(H5S_MAX_RANK == max_rank);
static_assert(H5S_UNLIMITED == unlimited);

Layout read_layout(hid_t properties, std::string_view name) {
  switch (H5Pget_layout(properties)) {
    case H5D_COMPACT:
      return Layout::compact;
    case H5D_CHUNKED:
      return Layout::chunked;
    case H5D_VIRTUAL:
      return Layout::virtual_sources;
    case H5D_CONTIGUOUS:
      return check(H5Pget_external_count(properties), attempt, name) > 0 ? Layout::external_files : Layout::contiguous;
    default:
      fail(attempt, name);
  }
}

Shape read_chunk_shape(hid_t properties, const Extents& extents, std::string_view name) {
  std::array<hsize_t, max_rank> chunk{};
  const int rank = check(H5Pget_chunk(properties, max_rank, chunk.data()), attempt, name);
  Shape shape;
  for (int axis = 0; axis < rank; ++axis) shape.push_back(chunk[static_cast<std::size_t>(axis)]);
  if (shape.rank() != extents.shape.rank()) {
    throw FormatError(attempt, name,
                      "chunks of " + to_string(shape) + " do not fit the shape " + to_string(extents.shape));
  }
  for (const std::uint64_t extent : shape) {
    if (extent == 0) throw FormatError(attempt, name, "chunks of " + to_string(shape) + " hold nothing");
  }
  return shape;
}

void read_fill(hid_t dataset_type, hid_t properties, std::string_view name, DatasetInfo& info) {
  info.fill.assign(item_bytes(info.type.dtype), std::byte{0});
  H5D_fill_value_t state = H5D_FILL_VALUE_UNDEFINED;
  check(H5Pfill_value_defined(properties, &state), attempt, name);
  H5D_fill_time_t time = H5D_FILL_TIME_ERROR;
  check(H5Pget_fill_time(properties, &time), attempt, name);
  info.fill_never = time == H5D_FILL_TIME_NEVER || state == H5D_FILL_VALUE_UNDEFINED;
  info.fill_defined = state == H5D_FILL_VALUE_USER_DEFINED && !info.fill_never;
  if (!info.fill_defined) return;
  // Asked for in the stored type, so that ours is the one conversion there is, whatever path the elements take.
  const ElementConversion conversion(dataset_type, info.type, name);
  std::vector<std::byte> value(conversion.room_bytes());
  check(H5Pget_fill_value(properties, dataset_type, value.data()), attempt, name);
  conversion.convert(value.data(), 1);
  info.fill.assign(value.begin(), value.begin() + static_cast<std::ptrdiff_t>(info.fill.size()));
}

}  // namespace

Extents describe_space(hid_t space, std::string_view name) {
  Extents extents;
  const H5S_class_t space_class = H5Sget_simple_extent_type(space);
  if (space_class == H5S_NO_CLASS) fail(attempt, name);
  if (space_class == H5S_NULL) return {true, Shape{0}, Shape{0}};
  Coordinates shape{};
  Coordinates maxshape{};
  const int rank = check(H5Sget_simple_extent_ndims(space), attempt, name);
  if (rank > static_cast<int>(max_rank)) throw FormatError(attempt, name, std::to_string(rank) + " axes are too many");
  check(H5Sget_simple_extent_dims(space, shape.data(), maxshape.data()), attempt, name);
  extents.shape = to_shape(shape, static_cast<std::size_t>(rank));
  extents.maxshape = to_shape(maxshape, static_cast<std::size_t>(rank));
  for (std::size_t axis = 0; axis < extents.shape.rank(); ++axis) {
    if (extents.shape[axis] <= extents.maxshape[axis]) continue;  // no limit is the largest number
    throw FormatError(
        attempt, name,
        "its shape " + to_string(extents.shape) + " is past its own limits " + to_string(extents.maxshape));
  }
  return extents;
}

std::vector<std::byte> stored_fill(hid_t dataset, hid_t type, std::string_view name) {
  const Id properties = checked(H5Dget_create_plist(dataset), attempt, name);
  std::vector<std::byte> value(H5Tget_size(type));
  H5D_fill_value_t state = H5D_FILL_VALUE_UNDEFINED;
  H5D_fill_time_t time = H5D_FILL_TIME_ERROR;
  check(H5Pfill_value_defined(properties.get(), &state), attempt, name);
  check(H5Pget_fill_time(properties.get(), &time), attempt, name);
  if (state != H5D_FILL_VALUE_USER_DEFINED || time == H5D_FILL_TIME_NEVER) return value;
  check(H5Pget_fill_value(properties.get(), type, value.data()), attempt, name);
  return value;
}

DatasetInfo describe_dataset(hid_t dataset, std::string_view name, StoredBytes stored_bytes) {
  DatasetInfo info;
  const Id type = checked(H5Dget_type(dataset), attempt, name);
  const Id space = checked(H5Dget_space(dataset), attempt, name);
  const Id properties = checked(H5Dget_create_plist(dataset), attempt, name);
  info.type = describe_type(type.get(), name);
  Extents extents = describe_space(space.get(), name);
  info.null_space = extents.null_space;
  info.shape = extents.shape;
  info.maxshape = extents.maxshape;
  info.layout = read_layout(properties.get(), name);
  if (info.layout == Layout::chunked) {
    info.chunk = read_chunk_shape(properties.get(), extents, name);
    unsigned options = 0;
    check(H5Pget_chunk_opts(properties.get(), &options), attempt, name);
    info.partial_chunks_unfiltered = (options & H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS) != 0;
  }
  info.filters = read_filters(properties.get(), name);
  if (info.type.numeric) read_fill(type.get(), properties.get(), name, info);
  info.size_bytes = info.shape.checked_bytes(info.type.item_bytes).value_or(UINT64_MAX);
  if (stored_bytes == StoredBytes::count || info.layout != Layout::chunked) {
    info.stored_bytes = H5Dget_storage_size(dataset);
  }
  if (info.layout == Layout::contiguous) {
    const haddr_t offset = H5Dget_offset(dataset);  // HADDR_UNDEF: nothing stored, or an error that says so as well
    // Behind a user block "undefined" is offset, too: whether anything is stored is asked for apart.
    if (offset != HADDR_UNDEF && info.stored_bytes > 0) info.file_offset = offset;
  }
  H5Eclear2(H5E_DEFAULT);
  return info;
}

}  // namespace runrig::hdf5::detail
