#include <array>
#include <cstdint>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "h5_writer.hpp"
#include "runrig/sync/error.hpp"
#include "sample_files.hpp"

namespace runrig::data {
namespace {

constexpr hsize_t user_block_bytes = 512;

/// Eleven values: both ends of the type, what is next to them, and some between. An odd number, so that the datasets
/// of one byte leave what follows them misaligned.
template <class T>
std::array<T, 11> integers() {
  using Limits = std::numeric_limits<T>;
  return {Limits::min(),
          static_cast<T>(Limits::min() + 1),
          0,
          1,
          2,
          3,
          5,
          100,
          static_cast<T>(Limits::max() / 2),
          static_cast<T>(Limits::max() - 1),
          Limits::max()};
}

template <class T>
void write_integers(H5Writer& file, const std::string& name, hid_t little, hid_t big, hid_t memory_type) {
  const auto values = integers<T>();
  (void)file.write_dataset("/little/" + name, {.type = little, .shape = {values.size()}}, memory_type, values.data());
  (void)file.write_dataset("/big/" + name, {.type = big, .shape = {values.size()}}, memory_type, values.data());
}

/// All exact in half precision, with the specials; the largest half is 65504.
constexpr std::array<double, 11> reals = {
    -65504.0, -1.5, -0.0, 0.0, 0x1p-24, 0x1p-14, 0.5, 1.0, 1024, 65504.0, std::numeric_limits<double>::infinity()};

void write_reals(H5Writer& file, const std::string& name, hid_t little, hid_t big) {
  const Storage storage{.type = little, .shape = {reals.size()}};
  (void)file.write_dataset("/little/" + name, storage, H5T_NATIVE_DOUBLE, reals.data());
  (void)file.write_dataset("/big/" + name, {.type = big, .shape = {reals.size()}}, H5T_NATIVE_DOUBLE, reals.data());
}

/// The library leaves the user block to its user.
void fill_user_block(const std::filesystem::path& path) {
  std::string text = "The first 512 bytes of this file are a user block; HDF5 begins behind it.\n";
  text.resize(user_block_bytes, ' ');
  std::fstream stream(path, std::ios::in | std::ios::out | std::ios::binary);
  stream.write(text.data(), static_cast<std::streamsize>(text.size()));
  stream.close();
  if (!stream) throw Error(std::errc::io_error, "write the user block of", path.string());
}

}  // namespace

void write_types(const std::filesystem::path& path) {
  H5Writer file(path, {.user_block_bytes = user_block_bytes});
  (void)file.create_group("/little");
  (void)file.create_group("/big");
  write_integers<std::int8_t>(file, "i1", H5T_STD_I8LE, H5T_STD_I8BE, H5T_NATIVE_INT8);
  write_integers<std::uint8_t>(file, "u1", H5T_STD_U8LE, H5T_STD_U8BE, H5T_NATIVE_UINT8);
  write_integers<std::int16_t>(file, "i2", H5T_STD_I16LE, H5T_STD_I16BE, H5T_NATIVE_INT16);
  write_integers<std::uint16_t>(file, "u2", H5T_STD_U16LE, H5T_STD_U16BE, H5T_NATIVE_UINT16);
  write_integers<std::int32_t>(file, "i4", H5T_STD_I32LE, H5T_STD_I32BE, H5T_NATIVE_INT32);
  write_integers<std::uint32_t>(file, "u4", H5T_STD_U32LE, H5T_STD_U32BE, H5T_NATIVE_UINT32);
  write_integers<std::int64_t>(file, "i8", H5T_STD_I64LE, H5T_STD_I64BE, H5T_NATIVE_INT64);
  write_integers<std::uint64_t>(file, "u8", H5T_STD_U64LE, H5T_STD_U64BE, H5T_NATIVE_UINT64);
  {
    const Handle little_half = half_type(H5T_ORDER_LE);
    const Handle big_half = half_type(H5T_ORDER_BE);
    write_reals(file, "f2", little_half.get(), big_half.get());
  }
  write_reals(file, "f4", H5T_IEEE_F32LE, H5T_IEEE_F32BE);
  write_reals(file, "f8", H5T_IEEE_F64LE, H5T_IEEE_F64BE);
  file.close();
  fill_user_block(path);
}

}  // namespace runrig::data
