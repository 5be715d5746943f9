#include "scenes.hpp"

#include <cstdio>
#include <exception>
#include <map>
#include <utility>

namespace runrig::test {
namespace {

std::map<std::string, Scene>& scenes() {
  static std::map<std::string, Scene> all;
  return all;
}

}  // namespace

SceneRegistration::SceneRegistration(std::string name, Scene scene) { scenes().emplace(std::move(name), scene); }

int run_scene(const std::string& name, const std::vector<std::string>& arguments) {
  const auto found = scenes().find(name);
  if (found == scenes().end()) return 99;
  try {
    return found->second(arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "scene %s: %s\n", name.c_str(), error.what());
    return 98;
  }
}

std::vector<std::string> scene_command(const std::string& name, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"/proc/self/exe", "scene", name});
  return arguments;
}

}  // namespace runrig::test
