#include "output_path.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <utility>

#include "runrig/sync/error.hpp"

namespace runrig::batch {
namespace {

namespace fs = std::filesystem;

std::string field_value(std::string_view field, const fs::path& input, std::string_view pattern) {
  if (field == "stem") return input.stem().string();
  if (field == "name") return input.filename().string();
  if (field == "ext") return input.extension().string();
  if (field == "dir") return directory_of(input.string());
  throw Error(std::errc::invalid_argument,
              "use the field '{" + std::string(field) + "}' (known: {stem} {name} {ext} {dir}) in the output", pattern);
}

// Which file a path leads to: device and inode if it exists, else its directory's and its own name.
using FileIdentity = std::pair<std::pair<dev_t, ino_t>, std::string>;
FileIdentity identify(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) return {{status.st_dev, status.st_ino}, ""};
  if (::stat(directory_of(path).c_str(), &status) == 0) {
    return {{status.st_dev, status.st_ino}, fs::path(path).filename().string()};
  }
  return {{0, 0}, fs::absolute(path).lexically_normal().string()};
}

}  // namespace

bool is_same_file(const std::string& a, const std::string& b) { return identify(a) == identify(b); }

std::string directory_of(const std::string& path) {
  const auto parent = fs::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

std::string expand_output(std::string_view pattern, std::string_view input) {
  const fs::path path{std::string(input)};
  std::string result;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if ((c == '{' || c == '}') && i + 1 < pattern.size() && pattern[i + 1] == c) {
      result += c;
      ++i;
    } else if (c == '{') {
      const auto close = pattern.find('}', i);
      if (close == std::string_view::npos)
        throw Error(std::errc::invalid_argument, "close the '{' in the output", pattern);
      result += field_value(pattern.substr(i + 1, close - i - 1), path, pattern);
      i = close;
    } else {
      result += c;
    }
  }
  if (result.empty()) throw Error(std::errc::invalid_argument, "write to the output", pattern);
  return result;
}

std::vector<std::string> plan_outputs(std::string_view pattern, const std::vector<std::string>& inputs,
                                      const std::vector<std::string>& all_inputs) {
  std::map<FileIdentity, std::string> taken;
  std::map<FileIdentity, std::string> read;
  for (const auto& input : all_inputs) read.emplace(identify(input), input);
  std::vector<std::string> outputs;
  outputs.reserve(inputs.size());
  for (const auto& input : inputs) {
    outputs.push_back(expand_output(pattern, input));
    const auto identity = identify(outputs.back());
    if (read.contains(identity)) {
      throw Error(std::errc::invalid_argument, "write over an input: the output of '" + input + "' would be",
                  outputs.back());
    }
    const auto [other, fresh] = taken.emplace(identity, input);
    if (!fresh) {
      throw Error(std::errc::invalid_argument,
                  "write the outputs of '" + other->second + "' and '" + input +
                      "' to one file (use a template such as out/{stem}.h5)",
                  outputs.back());
    }
  }
  return outputs;
}

}  // namespace runrig::batch
