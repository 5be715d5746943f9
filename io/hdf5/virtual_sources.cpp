#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <vector>

#include "reader.hpp"

namespace runrig::hdf5::detail {
namespace {

constexpr std::size_t max_sources = 1'000'000;
constexpr std::string_view attempt = "read virtual dataset";

/// A name that the library returns by length and buffer.
template <class Get>
std::string library_name(Get&& get, std::string_view name) {
  const ssize_t length = check(get(nullptr, 0), attempt, name);
  if (length > 1 << 20) throw FormatError(attempt, name, "a source's name is too long");
  std::vector<char> text(static_cast<std::size_t>(length) + 1, '\0');
  check(get(text.data(), text.size()), attempt, name);
  return text.data();
}

bool has_dataset(const std::string& file, const std::string& dataset) {
  const Id opened(H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT));
  const Id found(opened ? H5Dopen2(opened.get(), dataset.c_str(), H5P_DEFAULT) : H5I_INVALID_HID);
  H5Eclear2(H5E_DEFAULT);
  return static_cast<bool>(found);
}

/// Where the library looks: HDF5_VDS_PREFIX, beside the virtual file, the working directory.
std::vector<std::string> candidates(const std::string& virtual_file, const std::string& source) {
  namespace fs = std::filesystem;
  const fs::path name(source);
  const fs::path folder = fs::path(virtual_file).parent_path();
  std::vector<std::string> places;
  if (name.is_absolute()) places.push_back(source);
  if (const char* prefix = std::getenv("HDF5_VDS_PREFIX"); prefix != nullptr && *prefix != '\0') {
    std::string text(prefix);
    constexpr std::string_view origin = "${ORIGIN}";
    if (text.starts_with(origin)) text.replace(0, origin.size(), folder.empty() ? "." : folder.string());
    places.push_back((fs::path(text) / name.relative_path()).string());
  }
  places.push_back((folder / name.relative_path()).string());
  places.push_back((folder / name.filename()).string());
  if (!name.is_absolute()) places.push_back(source);
  return places;
}

bool is_there(const Source& source, const std::string& file, const std::string& dataset) {
  if (file == ".") {
    const Id found(H5Dopen2(source.file->file.get(), dataset.c_str(), H5P_DEFAULT));
    H5Eclear2(H5E_DEFAULT);
    return static_cast<bool>(found);
  }
  for (const std::string& place : candidates(source.file_path, file)) {
    // A regular file first: the library would wait for a FIFO's writer.
    std::error_code ignored;
    if (std::filesystem::is_regular_file(place, ignored) && has_dataset(place, dataset)) return true;
  }
  return false;
}

}  // namespace

void check_virtual_sources(const Source& source) {
  const Id properties = checked(H5Dget_create_plist(source.dataset.get()), attempt, source.name);
  std::size_t count = 0;
  check(H5Pget_virtual_count(properties.get(), &count), attempt, source.name);
  if (count > max_sources) throw FormatError(attempt, source.name, std::to_string(count) + " sources are too many");
  std::set<std::pair<std::string, std::string>> seen;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string file = library_name(
        [&](char* text, std::size_t room) { return H5Pget_virtual_filename(properties.get(), i, text, room); },
        source.name);
    const std::string dataset = library_name(
        [&](char* text, std::size_t room) { return H5Pget_virtual_dsetname(properties.get(), i, text, room); },
        source.name);
    // "%b" stands for a block's number: how many there are is decided by which files exist.
    if (file.find('%') != std::string::npos || dataset.find('%') != std::string::npos) continue;
    if (!seen.insert({file, dataset}).second || is_there(source, file, dataset)) continue;
    throw FormatError(attempt, source.name,
                      "its source " + printable(file) + ":" + printable(dataset) + " is absent or unreadable");
  }
}

}  // namespace runrig::hdf5::detail
