#pragma once

#include <string>
#include <vector>

/// Small programs within the test program, run as programs of their own: for what concerns the end of a main process,
/// or its death.
namespace runrig::test {

/// Called with the arguments behind its name.
using Scene = int (*)(const std::vector<std::string>& arguments);

class SceneRegistration {
 public:
  SceneRegistration(std::string name, Scene scene);
};
#define RUNRIG_SCENE(name)                                                              \
  int scene_##name(const std::vector<std::string>& arguments);                          \
  const ::runrig::test::SceneRegistration registration_of_##name(#name, &scene_##name); \
  int scene_##name([[maybe_unused]] const std::vector<std::string>& arguments)

int run_scene(const std::string& name, const std::vector<std::string>& arguments);

/// What a scene is run by.
[[nodiscard]] std::vector<std::string> scene_command(const std::string& name, std::vector<std::string> arguments = {});

}  // namespace runrig::test
