#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "readme_examples.hpp"
#include "source_directory.hpp"
#include "support.hpp"

// The examples of README.md, run as a reader would: in a folder with data/, `runrig` in PATH, the package installed.

namespace runrig {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream stream(path);
  EXPECT_TRUE(stream) << path;
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

void write_file(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

void run(const test::Example& example, const fs::path& directory) {
  SCOPED_TRACE("README.md, block at line " + std::to_string(example.line));
  const std::string prefix = RUNRIG_INSTALLED_PREFIX;
  const char* const path = std::getenv("PATH");
  const auto ran =
      test::run_command({"bash", "-c", "cd '" + directory.string() + "'\n" + test::script_of(example.commands)}, {},
                        std::chrono::minutes(5),
                        {"PATH=" + prefix + "/bin:" + (path == nullptr ? "/usr/bin:/bin" : path),
                         "CMAKE_PREFIX_PATH=" + prefix, "CXXFLAGS=" RUNRIG_COMPILE_FLAGS, "LC_ALL=C.UTF-8"});
  const auto outputs = test::separate_outputs(ran.out);
  ASSERT_EQ(outputs.size(), example.commands.size()) << "the shell ended early:\n" << ran.out << ran.err;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    std::string whole;
    for (const auto& line : outputs[i].lines) whole += "  " + line + "\n";
    EXPECT_EQ(outputs[i].exit_code, 0) << "$ " << example.commands[i].text << '\n' << whole;
    EXPECT_EQ(test::difference(example.commands[i].expected, outputs[i].lines), "")
        << "$ " << example.commands[i].text << "\nprinted:\n"
        << whole;
  }
}

TEST(ReadmeTest, EachExamplePrintsWhatIsShown) {
  const fs::path root = test::source_directory();
  const auto examples = test::parse_examples(text_of(root / "README.md"));
  ASSERT_GE(std::count_if(examples.begin(), examples.end(), [](const auto& each) { return !each.commands.empty(); }), 3)
      << "one for each of the three uses";
  const test::TemporaryDirectory directory;
  fs::create_directory(directory / "data");
  for (const auto& entry : fs::directory_iterator(test::data_directory())) {
    if (entry.path().extension() == ".h5") fs::copy(entry.path(), directory / "data");
  }
  for (const auto& each : examples) {
    if (each.commands.empty()) {
      write_file(directory / each.file_name, each.file_text);
    } else {
      run(each, directory.path());
    }
  }
}

}  // namespace
}  // namespace runrig
