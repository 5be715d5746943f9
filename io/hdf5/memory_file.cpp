#include "memory_file.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <iterator>
#include <memory>
#include <new>

// A driver of the library's virtual file layer. It is called through C: nothing may be thrown in it.
namespace runrig::hdf5::detail {
namespace {

constexpr haddr_t most_bytes = haddr_t{1} << 40;

struct Driver {
  H5FD_t base;  // the library's own part, at the beginning
  MemoryFile* file;
  haddr_t end_of_addresses;
};
Driver& driver_of(H5FD_t* file) { return *reinterpret_cast<Driver*>(file); }
const Driver& driver_of(const H5FD_t* file) { return *reinterpret_cast<const Driver*>(file); }

extern "C" {

static H5FD_t* memory_open(const char*, unsigned, hid_t access, haddr_t) {
  const void* const info = H5Pget_driver_info(access);
  if (info == nullptr) return nullptr;
  try {
    auto driver = std::make_unique<Driver>();
    driver->file = *static_cast<MemoryFile* const*>(info);
    return &driver.release()->base;  // the library's, until memory_close()
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

static herr_t memory_close(H5FD_t* file) {
  const std::unique_ptr<Driver> owner(&driver_of(file));
  return 0;
}

static int memory_compare(const H5FD_t* a, const H5FD_t* b) {
  const std::less<> less;
  return less(driver_of(a).file, driver_of(b).file) ? -1 : less(driver_of(b).file, driver_of(a).file) ? 1 : 0;
}

// What of the driver for files on the disk has a say in where things go.
static herr_t memory_query(const H5FD_t*, unsigned long* flags) {
  *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_DATA_SIEVE;
  return 0;
}

static haddr_t memory_end_of_addresses(const H5FD_t* file, H5FD_mem_t) { return driver_of(file).end_of_addresses; }

static herr_t memory_set_end_of_addresses(H5FD_t* file, H5FD_mem_t, haddr_t end) {
  driver_of(file).end_of_addresses = end;
  return 0;
}

static haddr_t memory_end_of_file(const H5FD_t* file, H5FD_mem_t) {
  const MemoryFile& memory = *driver_of(file).file;
  return std::max(memory.bytes.size(), memory.file_bytes);
}

static herr_t memory_read(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t address, std::size_t size, void* out) {
  const std::vector<std::byte>& bytes = driver_of(file).file->bytes;
  const std::size_t first = std::min<std::size_t>(address, bytes.size());
  const std::size_t there = std::min(size, bytes.size() - first);
  if (there > 0) std::memcpy(out, bytes.data() + first, there);
  if (size > there) std::memset(static_cast<std::byte*>(out) + there, 0, size - there);
  return 0;
}

static herr_t memory_write(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t address, std::size_t size, const void* from) {
  if (address > most_bytes || size > most_bytes) return -1;
  try {
    driver_of(file).file->put({static_cast<const std::byte*>(from), size}, static_cast<std::size_t>(address));
  } catch (const std::bad_alloc&) {
    return -1;
  }
  return 0;
}

static herr_t memory_truncate(H5FD_t* file, hid_t, hbool_t) {
  const Driver& driver = driver_of(file);
  driver.file->file_bytes = static_cast<std::size_t>(driver.end_of_addresses);
  driver.file->bytes.resize(std::min(driver.file->bytes.size(), driver.file->file_bytes));  // never more: cannot throw
  return 0;
}

}  // extern "C"

hid_t memory_driver() {
  // As long as the library.
  static const hid_t id = [] {
    H5FD_class_t driver{};
#if H5_VERSION_GE(1, 13, 2)
    driver.version = H5FD_CLASS_VERSION;
#endif
#if H5_VERSION_GE(1, 13, 0)
    driver.value = static_cast<H5FD_class_value_t>(600);  // of the range for drivers that are not registered anywhere
#endif
    driver.name = "runrig_memory";
    driver.maxaddr = most_bytes;
    driver.fc_degree = H5F_CLOSE_WEAK;
    driver.fapl_size = sizeof(MemoryFile*);  // NOLINT(bugprone-sizeof-expression): a place is all that is copied
    driver.open = memory_open;
    driver.close = memory_close;
    driver.cmp = memory_compare;
    driver.query = memory_query;
    driver.get_eoa = memory_end_of_addresses;
    driver.set_eoa = memory_set_end_of_addresses;
    driver.get_eof = memory_end_of_file;
    driver.read = memory_read;
    driver.write = memory_write;
    driver.truncate = memory_truncate;
    constexpr H5FD_mem_t map[] = H5FD_FLMAP_DICHOTOMY;
    std::copy(std::begin(map), std::end(map), driver.fl_map);
    return check(H5FDregister(&driver), "register", "the driver for files in memory");
  }();
  return id;
}

}  // namespace

void MemoryFile::put(std::span<const std::byte> from, std::size_t at) {
  if (bytes.size() < at + from.size()) bytes.resize(at + from.size());
  std::copy(from.begin(), from.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

Id in_memory(hid_t access, MemoryFile& file) {
  Id properties = checked(access == H5P_DEFAULT ? H5Pcreate(H5P_FILE_ACCESS) : H5Pcopy(access), "create", "properties");
  MemoryFile* const info = &file;
  check(H5Pset_driver(properties.get(), memory_driver(), static_cast<const void*>(&info)), "create", "properties");
  return properties;
}

}  // namespace runrig::hdf5::detail
