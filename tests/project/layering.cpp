#include "layering.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <optional>
#include <regex>
#include <set>
#include <string_view>
#include <utility>

namespace runrig::test {
namespace {

namespace fs = std::filesystem;

struct Room {
  std::string_view folder;   ///< below the root
  std::string_view headers;  ///< its public headers are "runrig/<headers>/..."
  std::set<std::string_view> may_include;
};

// Inner folders first: engine/batch is no part of engine.
const std::array<Room, 7> rooms = {{
    {"engine/batch", "batch", {"sync", "shm", "channel", "hdf5", "engine", "kernel.h"}},
    {"engine", "engine", {"sync", "shm", "channel"}},
    {"io/channel", "channel", {"sync", "shm"}},
    {"io/hdf5", "hdf5", {"sync", "shm"}},
    {"shm", "shm", {"sync"}},
    {"sync", "sync", {}},
    {"apps", "apps", {"sync", "shm", "channel", "hdf5", "engine", "batch"}},
}};

/// Libraries that must not spread: where their headers may be named, and whether public headers may do it.
struct Fence {
  std::regex header;
  std::string_view library;
  std::set<std::string_view> rooms;
  bool in_public_headers;
};
const std::array<Fence, 4> fences = {{
    {std::regex("(hdf5|H5.*)\\.h"), "HDF5", {"hdf5"}, false},
    {std::regex("(tbb|oneapi)/.*"), "oneTBB", {"engine"}, false},
    {std::regex("boost/.*"), "Boost", {"sync", "shm", "channel", "engine", "batch"}, false},
    {std::regex("Eigen/.*|unsupported/Eigen/.*"), "Eigen", {"engine", "batch", "apps"}, true},
}};

bool is_below(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

const Room* room_of(const fs::path& relative) {
  const auto* const found =
      std::find_if(rooms.begin(), rooms.end(), [&](const Room& room) { return is_below(relative, room.folder); });
  return found == rooms.end() ? nullptr : found;
}

bool is_public_header(const fs::path& relative) {
  return std::find(relative.begin(), relative.end(), "include") != relative.end();
}

/// Why this file of this room must not include `header`, if so.
std::optional<std::string> objection(const fs::path& root, const fs::path& relative, const Room& room,
                                     const std::string& header, bool quoted) {
  if (header.rfind("runrig/", 0) == 0) {
    const std::string target = header.substr(7, header.find('/', 7) - 7);
    if (target == room.headers || room.may_include.count(target) != 0) return std::nullopt;
    // The header for all rooms, and whatever else stands above them, is for programs.
    if (room.headers == "apps") return std::nullopt;
    return std::string(room.headers) + " must not know " + target;
  }
  if (!quoted) {
    for (const Fence& fence : fences) {
      if (!std::regex_match(header, fence.header)) continue;
      if (fence.rooms.count(room.headers) == 0) return std::string(fence.library) + " is not for this room";
      if (!fence.in_public_headers && is_public_header(relative)) {
        return std::string(fence.library) + " does not belong in a public header";
      }
    }
    return std::nullopt;
  }
  for (const fs::path& base : {relative.parent_path(), fs::path(room.folder)}) {
    const fs::path candidate = (base / header).lexically_normal();
    // CMake makes x.hpp from x.hpp.in.
    if (!fs::exists(root / candidate) && !fs::exists(root / (candidate.string() + ".in"))) continue;
    if (room_of(candidate) == &room) return std::nullopt;
    return "that is a private header of another room";
  }
  // `runrig bench` runs the transfer benchmark, which lies beside the house.
  if (room.headers == "apps" && fs::exists(root / "bench/transfer" / header)) return std::nullopt;
  return "there is no such file in the room; headers of other rooms are \"runrig/...\"";
}

void check_file(const fs::path& root, const fs::path& relative, const Room& room, LayeringReport& report) {
  static const std::regex include_line("\\s*#\\s*include\\s*([\"<])([^\">]+)[\">].*");
  std::ifstream stream(root / relative);
  std::string line;
  for (std::size_t number = 1; std::getline(stream, line); ++number) {
    std::smatch match;
    if (!std::regex_match(line, match, include_line)) continue;
    const bool quoted = match[1] == "\"";
    if (quoted || match[2].str().rfind("runrig/", 0) == 0) ++report.includes_of_room[std::string(room.headers)];
    if (const auto reason = objection(root, relative, room, match[2], quoted)) {
      report.violations.push_back(relative.string() + ":" + std::to_string(number) + " includes " + match[2].str() +
                                  ": " + *reason);
    }
  }
}

}  // namespace

LayeringReport check_layering(const fs::path& root) {
  LayeringReport report;
  for (const char* const top : {"sync", "shm", "io", "engine", "apps"}) {
    if (!fs::exists(root / top)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      const fs::path extension = entry.path().extension();
      if (extension != ".cpp" && extension != ".hpp") continue;
      const fs::path relative = fs::relative(entry.path(), root);
      const Room* const room = room_of(relative);
      if (room == nullptr) {
        report.violations.push_back(relative.string() + " lies in no room");
        continue;
      }
      ++report.files_of_room[std::string(room->headers)];
      check_file(root, relative, *room, report);
    }
  }
  std::sort(report.violations.begin(), report.violations.end());
  return report;
}

}  // namespace runrig::test
