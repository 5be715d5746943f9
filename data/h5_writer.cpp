#include "h5_writer.hpp"

#include <cerrno>
#include <cstdint>
#include <cstdio>

#include "runrig/sync/error.hpp"

namespace runrig::data {
namespace {

Handle space_of(const Storage& storage, std::string_view name) {
  if (storage.shape.empty()) return {H5Screate(H5S_SCALAR), H5Sclose, "make a dataspace for", name};
  auto maximum = storage.shape;
  if (storage.unlimited) maximum.at(0) = H5S_UNLIMITED;
  return {H5Screate_simple(static_cast<int>(storage.shape.size()), storage.shape.data(), maximum.data()), H5Sclose,
          "make a dataspace for", name};
}

void apply_filters(hid_t creation, const Storage& storage, const std::string& name) {
  const auto rank = static_cast<int>(storage.chunk.size());
  check_hdf5(H5Pset_chunk(creation, rank, storage.chunk.data()), "chunk", name);
  if (storage.shuffle) check_hdf5(H5Pset_shuffle(creation), "shuffle", name);
  if (storage.deflate) check_hdf5(H5Pset_deflate(creation, *storage.deflate), "deflate", name);
  if (storage.fletcher32) check_hdf5(H5Pset_fletcher32(creation), "checksum", name);
}

Handle creation_properties(const Storage& storage, bool creation_order, const std::string& name) {
  Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "make properties for", name);
  check_hdf5(H5Pset_obj_track_times(creation.get(), false), "leave time stamps out of", name);
  if (creation_order) {
    check_hdf5(H5Pset_attr_creation_order(creation.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED),
               "keep creation order in", name);
  }
  if (!storage.chunk.empty()) apply_filters(creation.get(), storage, name);
  if (storage.compact) check_hdf5(H5Pset_layout(creation.get(), H5D_COMPACT), "make compact", name);
  if (storage.fill != nullptr) {
    check_hdf5(H5Pset_fill_value(creation.get(), storage.fill_type, storage.fill), "set the fill value of", name);
  }
  return creation;
}

Handle create_file(const std::string& path, const FileFormat& format) {
  const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose, "make properties for", path);
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "make properties for", path);
  check_hdf5(H5Pset_obj_track_times(creation.get(), false), "leave time stamps out of", path);
  // A forgotten handle would keep the file open behind our back: let closing fail instead.
  check_hdf5(H5Pset_fclose_degree(access.get(), H5F_CLOSE_SEMI), "set the close degree of", path);
  check_hdf5(H5Pset_userblock(creation.get(), format.user_block_bytes), "set the user block of", path);
  if (format.creation_order) {
    constexpr unsigned tracked = H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED;
    check_hdf5(H5Pset_link_creation_order(creation.get(), tracked), "keep creation order in", path);
    check_hdf5(H5Pset_attr_creation_order(creation.get(), tracked), "keep creation order in", path);
  }
  if (format.version_110) {
    // Named, not H5F_LIBVER_LATEST, which means something else in each version of the library.
    check_hdf5(H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110), "choose the format of", path);
  }
  return {H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), H5Fclose, "create", path};
}

}  // namespace

Handle::Handle(hid_t id, herr_t (*closer)(hid_t), std::string_view attempted, std::string_view name)
    : id_(id), close_(closer) {
  if (id < 0) throw Error(std::errc::io_error, attempted, name);
}

Handle::~Handle() {
  // Only H5Writer::close can lose data, and that is called where it can throw; the rest is memory.
  if (id_ >= 0 && close_(id_) < 0) std::fputs("closing an HDF5 handle failed\n", stderr);
}

void Handle::close(std::string_view attempted, std::string_view name) {
  check_hdf5(close_(std::exchange(id_, H5I_INVALID_HID)), attempted, name);
}

void check_hdf5(herr_t status, std::string_view attempted, std::string_view name) {
  if (status < 0) throw Error(std::errc::io_error, attempted, name);
}

H5Writer::H5Writer(const std::filesystem::path& path, const FileFormat& format)
    : path_(path.string()), creation_order_(format.creation_order), file_(create_file(path_, format)) {}

Handle H5Writer::create_group(const std::string& name) {
  const Handle creation(H5Pcreate(H5P_GROUP_CREATE), H5Pclose, "make properties for", name);
  check_hdf5(H5Pset_obj_track_times(creation.get(), false), "leave time stamps out of", name);
  if (creation_order_) {
    check_hdf5(H5Pset_link_creation_order(creation.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED),
               "keep creation order in", name);
  }
  return {H5Gcreate2(id(), name.c_str(), H5P_DEFAULT, creation.get(), H5P_DEFAULT), H5Gclose, "create group", name};
}

Handle H5Writer::create_dataset(const std::string& name, const Storage& storage) {
  const Handle space = space_of(storage, name);
  const Handle creation = creation_properties(storage, creation_order_, name);
  return {H5Dcreate2(id(), name.c_str(), storage.type, space.get(), H5P_DEFAULT, creation.get(), H5P_DEFAULT), H5Dclose,
          "create dataset", name};
}

Handle H5Writer::write_dataset(const std::string& name, const Storage& storage, hid_t memory_type, const void* values) {
  Handle dataset = create_dataset(name, storage);
  check_hdf5(H5Dwrite(dataset.get(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), "write", name);
  return dataset;
}

void H5Writer::close() { file_.close("write", path_); }

void write_box(const Handle& dataset, const std::vector<hsize_t>& start, const std::vector<hsize_t>& count,
               hid_t memory_type, const void* values) {
  const Handle file_space(H5Dget_space(dataset.get()), H5Sclose, "open the dataspace of", "box");
  const Handle memory_space(H5Screate_simple(static_cast<int>(count.size()), count.data(), nullptr), H5Sclose,
                            "make a dataspace for", "box");
  check_hdf5(H5Sselect_hyperslab(file_space.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr),
             "select", "box");
  check_hdf5(H5Dwrite(dataset.get(), memory_type, memory_space.get(), file_space.get(), H5P_DEFAULT, values), "write",
             "box");
}

void set_attribute(hid_t object, const std::string& name, std::string_view text) {
  const Handle type = string_type(text.size());
  set_attribute(object, name, type.get(), type.get(), text.data());
}

void set_attribute(hid_t object, const std::string& name, hid_t file_type, hid_t memory_type, const void* values,
                   hsize_t count) {
  const Handle space(count == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &count, nullptr), H5Sclose,
                     "make a dataspace for", name);
  const Handle attribute(H5Acreate2(object, name.c_str(), file_type, space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose,
                         "create attribute", name);
  check_hdf5(H5Awrite(attribute.get(), memory_type, values), "write attribute", name);
}

Handle string_type(std::size_t length_bytes) {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose, "make type", "string");
  check_hdf5(H5Tset_size(type.get(), length_bytes), "make type", "string");
  check_hdf5(H5Tset_strpad(type.get(), H5T_STR_NULLPAD), "make type", "string");
  check_hdf5(H5Tset_cset(type.get(), H5T_CSET_UTF8), "make type", "string");
  return type;
}

Handle variable_string_type() {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose, "make type", "string");
  check_hdf5(H5Tset_size(type.get(), H5T_VARIABLE), "make type", "string");
  check_hdf5(H5Tset_cset(type.get(), H5T_CSET_UTF8), "make type", "string");
  return type;
}

Handle half_type(H5T_order_t order) {
  // In this order: a float's fields must fit into its size at every step.
  Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose, "make type", "half");
  check_hdf5(H5Tset_fields(type.get(), 15, 10, 5, 0, 10), "make type", "half");
  check_hdf5(H5Tset_size(type.get(), 2), "make type", "half");
  check_hdf5(H5Tset_ebias(type.get(), 15), "make type", "half");
  check_hdf5(H5Tset_order(type.get(), order), "make type", "half");
  return type;
}

Handle enum_type(const std::vector<std::string>& names) {
  Handle type(H5Tenum_create(H5T_STD_I8LE), H5Tclose, "make type", "enumeration");
  std::int8_t value = 0;
  for (const auto& name : names) {
    check_hdf5(H5Tenum_insert(type.get(), name.c_str(), &value), "make type", name);
    ++value;
  }
  return type;
}

}  // namespace runrig::data
