#include "encoding.hpp"

#include <algorithm>
#include <cstring>
#include <span>

#include "runrig/sync/error.hpp"

namespace runrig::batch {

using pickle::Object;

namespace {

[[noreturn]] void refuse(std::string_view why) { throw FormatError("read the report of", "a worker", why); }

// Decodes an enum that ends with `last`.
template <class Enum>
Enum decode_enum(const Object& object, Enum last) {
  const auto value = object.as_uint();
  if (value > static_cast<std::uint64_t>(last)) refuse("an unknown enumerator");
  return static_cast<Enum>(value);
}
template <class Enum>
Object encode_enum(Enum value) {
  return Object(static_cast<std::uint64_t>(value));
}

Object encode_extents(const Shape& shape) { return Object::tuple(std::vector<Object>(shape.begin(), shape.end())); }

Object encode(const hdf5::StoredType& type) {
  return Object::tuple({type.numeric, encode_enum(type.dtype), type.swapped, type.big_endian, type.direct,
                        type.item_bytes, encode_text(type.numpy), encode_text(type.description)});
}

hdf5::StoredType decode_type(const Object& object) {
  hdf5::StoredType type;
  type.numeric = object.at(0).as_bool();
  type.dtype = decode_enum(object.at(1), DType::complex128);
  type.swapped = object.at(2).as_bool();
  type.big_endian = object.at(3).as_bool();
  type.direct = object.at(4).as_bool();
  type.item_bytes = object.at(5).as_uint();
  type.numpy = decode_text(object.at(6));
  type.description = decode_text(object.at(7));
  return type;
}

Object encode(const hdf5::FilterInfo& filter) {
  std::vector<Object> parameters(filter.parameters.begin(), filter.parameters.end());
  return Object::tuple({filter.id, filter.flags, Object::tuple(std::move(parameters)), encode_text(filter.name),
                        filter.available, filter.encodable, filter.fast});
}

hdf5::FilterInfo decode_filter(const Object& object) {
  hdf5::FilterInfo filter;
  filter.id = static_cast<int>(std::clamp<std::int64_t>(object.at(0).as_int(), INT32_MIN, INT32_MAX));
  filter.flags = static_cast<unsigned>(object.at(1).as_uint());
  for (const Object& each : object.at(2).items()) filter.parameters.push_back(static_cast<unsigned>(each.as_uint()));
  filter.name = decode_text(object.at(3));
  filter.available = object.at(4).as_bool();
  filter.encodable = object.at(5).as_bool();
  filter.fast = object.at(6).as_bool();
  return filter;
}

Object encode_filters(const std::vector<hdf5::FilterInfo>& filters) {
  std::vector<Object> each;
  each.reserve(filters.size());
  for (const auto& filter : filters) each.push_back(encode(filter));
  return Object::tuple(std::move(each));
}

std::vector<hdf5::FilterInfo> decode_filters(const Object& object) {
  std::vector<hdf5::FilterInfo> filters;
  for (const Object& each : object.items()) filters.push_back(decode_filter(each));
  return filters;
}

Object encode(const hdf5::AttributeInfo& attribute) {
  return Object::tuple({encode_text(attribute.name), encode(attribute.type), encode_extents(attribute.shape),
                        attribute.null_space, encode_text(attribute.value), encode_text(attribute.error)});
}

hdf5::AttributeInfo decode_attribute(const Object& object) {
  hdf5::AttributeInfo attribute;
  attribute.name = decode_text(object.at(0));
  attribute.type = decode_type(object.at(1));
  attribute.shape = decode_shape(object.at(2));
  attribute.null_space = object.at(3).as_bool();
  attribute.value = decode_text(object.at(4));
  attribute.error = decode_text(object.at(5));
  return attribute;
}

}  // namespace

Object encode_text(const std::string& bytes) { return Object(pickle::escape_text(bytes)); }
std::string decode_text(const Object& object) { return pickle::unescape_text(object.as_string()); }

Object encode(const Shape& shape) { return encode_extents(shape); }

Shape decode_shape(const Object& object) {
  Shape shape;
  for (const Object& each : object.items()) shape.push_back(each.as_uint());
  return shape;
}

Object encode(const hdf5::DatasetInfo& info) {
  return Object::dict({{"type", encode(info.type)},
                       {"null", info.null_space},
                       {"shape", encode(info.shape)},
                       {"maxshape", encode(info.maxshape)},
                       {"layout", encode_enum(info.layout)},
                       {"chunk", encode(info.chunk)},
                       {"filters", encode_filters(info.filters)},
                       {"partial", info.partial_chunks_unfiltered},
                       {"fill", Object::bytes(std::span<const std::byte>(info.fill))},
                       {"fill_defined", info.fill_defined},
                       {"unpacked", info.unpacked},
                       {"masked", info.masked},
                       {"fill_never", info.fill_never},
                       {"size", info.size_bytes},
                       {"stored", info.stored_bytes},
                       {"offset", info.file_offset ? Object(*info.file_offset) : Object()}});
}

hdf5::DatasetInfo decode_dataset(const Object& object) {
  hdf5::DatasetInfo info;
  info.type = decode_type(object.at("type"));
  info.null_space = object.at("null").as_bool();
  info.shape = decode_shape(object.at("shape"));
  info.maxshape = decode_shape(object.at("maxshape"));
  info.layout = decode_enum(object.at("layout"), hdf5::Layout::external_files);
  info.chunk = decode_shape(object.at("chunk"));
  info.filters = decode_filters(object.at("filters"));
  info.partial_chunks_unfiltered = object.at("partial").as_bool();
  const auto fill = object.at("fill").as_bytes();
  info.fill.assign(fill.begin(), fill.end());
  info.fill_defined = object.at("fill_defined").as_bool();
  info.unpacked = object.at("unpacked").as_bool();
  info.masked = object.at("masked").as_bool();
  info.fill_never = object.at("fill_never").as_bool();
  info.size_bytes = object.at("size").as_uint();
  info.stored_bytes = object.at("stored").as_uint();
  if (const Object& offset = object.at("offset"); !offset.is_none()) info.file_offset = offset.as_uint();
  if (info.type.numeric && info.fill.size() != item_bytes(info.type.dtype)) refuse("a fill value of the wrong size");
  if (info.layout == hdf5::Layout::chunked) {
    if (info.chunk.rank() != info.shape.rank()) refuse("a chunk shape of another rank");
    if (std::find(info.chunk.begin(), info.chunk.end(), 0U) != info.chunk.end()) refuse("an empty chunk shape");
  }
  return info;
}

Object encode(const hdf5::ObjectInfo& info) {
  std::vector<Object> attributes;
  attributes.reserve(info.attributes.size());
  for (const auto& each : info.attributes) attributes.push_back(encode(each));
  return Object::dict({{"path", encode_text(info.path)},
                       {"kind", encode_enum(info.kind)},
                       {"target", encode_text(info.target)},
                       {"dataset", info.dataset ? encode(*info.dataset) : Object()},
                       {"attributes", Object::tuple(std::move(attributes))},
                       {"error", encode_text(info.error)}});
}

hdf5::ObjectInfo decode_object(const Object& object) {
  hdf5::ObjectInfo info;
  info.path = decode_text(object.at("path"));
  info.kind = decode_enum(object.at("kind"), hdf5::ObjectKind::other);
  info.target = decode_text(object.at("target"));
  if (const Object& dataset = object.at("dataset"); !dataset.is_none()) info.dataset = decode_dataset(dataset);
  for (const Object& each : object.at("attributes").items()) info.attributes.push_back(decode_attribute(each));
  info.error = decode_text(object.at("error"));
  return info;
}

Object encode(const hdf5::OutputSpec& spec) {
  std::vector<Object> dropped;
  for (const std::string& each : spec.dropped_attributes) dropped.push_back(encode_text(each));
  return Object::dict({{"dtype", encode_enum(spec.dtype)},
                       {"big_endian", spec.big_endian},
                       {"shape", encode(spec.shape)},
                       {"maxshape", encode(spec.maxshape)},
                       {"chunk", encode(spec.chunk)},
                       {"filters", encode_filters(spec.filters)},
                       {"library", spec.library_filters},
                       {"fill", spec.fill ? Object::bytes(std::span<const std::byte>(*spec.fill)) : Object()},
                       {"marks_missing", spec.marks_missing},
                       {"dropped", Object::list(std::move(dropped))},
                       {"null", spec.null_space}});
}

hdf5::OutputSpec decode_output(const Object& object) {
  hdf5::OutputSpec spec;
  spec.dtype = decode_enum(object.at("dtype"), DType::complex128);
  spec.big_endian = object.at("big_endian").as_bool();
  spec.shape = decode_shape(object.at("shape"));
  spec.maxshape = decode_shape(object.at("maxshape"));
  spec.chunk = decode_shape(object.at("chunk"));
  spec.filters = decode_filters(object.at("filters"));
  spec.library_filters = object.at("library").as_bool();
  spec.marks_missing = object.at("marks_missing").as_bool();
  for (const Object& each : object.at("dropped").items()) spec.dropped_attributes.push_back(decode_text(each));
  if (const Object& fill = object.at("fill"); !fill.is_none()) {
    spec.fill.emplace(fill.as_bytes().begin(), fill.as_bytes().end());
  }
  spec.null_space = object.at("null").as_bool();
  return spec;
}

Object encode(const hdf5::RepackDataset& dataset) {
  return Object::dict({{"path", encode_text(dataset.path)},
                       {"item", dataset.item_bytes},
                       {"shape", encode(dataset.shape)},
                       {"source", encode(dataset.source_chunk)},
                       {"chunk", encode(dataset.chunk)},
                       {"filters", encode_filters(dataset.filters)},
                       {"fill", Object::bytes(std::span<const std::byte>(dataset.fill))}});
}

hdf5::RepackDataset decode_repack(const Object& object) {
  hdf5::RepackDataset dataset;
  dataset.path = decode_text(object.at("path"));
  dataset.item_bytes = object.at("item").as_uint();
  dataset.shape = decode_shape(object.at("shape"));
  dataset.source_chunk = decode_shape(object.at("source"));
  dataset.chunk = decode_shape(object.at("chunk"));
  dataset.filters = decode_filters(object.at("filters"));
  const auto fill = object.at("fill").as_bytes();
  dataset.fill.assign(fill.begin(), fill.end());
  const std::size_t rank = dataset.shape.rank();
  if (rank == 0 || dataset.chunk.rank() != rank) refuse("a chunk shape of another rank");
  if (dataset.source_chunk.rank() != 0 && dataset.source_chunk.rank() != rank) refuse("a chunk shape of another rank");
  for (const Shape& chunk : {dataset.chunk, dataset.source_chunk}) {
    if (std::find(chunk.begin(), chunk.end(), 0U) != chunk.end()) refuse("an empty chunk shape");
  }
  if (dataset.item_bytes == 0 || dataset.fill.size() != dataset.item_bytes) refuse("a fill value of the wrong size");
  return dataset;
}

Object encode(const hdf5::RepackOptions& options) {
  std::vector<Object> names;
  for (const auto& each : options.datasets) names.push_back(encode_text(each));
  return Object::dict({{"filters", options.storage.filters ? encode_filters(*options.storage.filters) : Object()},
                       {"chunks", encode_enum(options.storage.chunks)},
                       {"chunk", encode(options.storage.chunk)},
                       {"datasets", Object::tuple(std::move(names))},
                       {"library", options.force_library},
                       {"limit", options.max_chunk_bytes}});
}

hdf5::RepackOptions decode_repack_options(const Object& object) {
  hdf5::RepackOptions options;
  if (const Object& filters = object.at("filters"); !filters.is_none())
    options.storage.filters = decode_filters(filters);
  options.storage.chunks = decode_enum(object.at("chunks"), hdf5::StorageOptions::Chunks::given);
  options.storage.chunk = decode_shape(object.at("chunk"));
  for (const Object& each : object.at("datasets").items()) options.datasets.push_back(decode_text(each));
  options.force_library = object.at("library").as_bool();
  options.max_chunk_bytes = object.at("limit").as_uint();
  return options;
}

Object encode(const Statistics& statistics) { return Object::bytes(std::as_bytes(std::span(&statistics, 1))); }

Statistics decode_statistics(const Object& object) {
  const auto bytes = object.as_bytes();
  Statistics statistics;
  if (bytes.size() != sizeof statistics) refuse("statistics of the wrong size");
  // The dtype is the one field whose value must be looked at before it is copied into an enum.
  static_assert(offsetof(Statistics, dtype) == 0 && sizeof(DType) == 1);
  if (std::to_integer<std::size_t>(bytes[0]) >= dtype_count) refuse("statistics of an unknown dtype");
  std::memcpy(&statistics, bytes.data(), sizeof statistics);
  return statistics;
}

}  // namespace runrig::batch
