#include "readme_examples.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support.hpp"

namespace runrig::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

using Lines = std::vector<std::string>;

TEST(ReadmeExamplesTest, CommandsAreFoundWithWhatTheyPrint) {
  const auto examples = parse_examples(
      "# Title\n"
      "<!-- example: run -->\n"
      "```console\n"
      "$ echo one\n"
      "one\n"
      "\n"
      "$ echo two \\\n"
      ">   three\n"
      "two three\n"
      "```\n");
  ASSERT_EQ(examples.size(), 1U);
  EXPECT_EQ(examples[0].line, 3U);
  ASSERT_EQ(examples[0].commands.size(), 2U);
  EXPECT_EQ(examples[0].commands[0].text, "echo one");
  EXPECT_THAT(examples[0].commands[0].expected, ElementsAre("one"));
  EXPECT_EQ(examples[0].commands[1].text, "echo two \\\n  three");
  EXPECT_THAT(examples[0].commands[1].expected, ElementsAre("two three"));
}

TEST(ReadmeExamplesTest, FilesAreFoundAndOtherBlocksLeftAlone) {
  const auto examples = parse_examples(
      "```cpp\nint x;\n```\n"
      "<!-- not run: takes an hour -->\n```console\n$ ./everything\n```\n"
      "<!-- example: file a/main.cpp -->\n\n```cpp\nint main() {}\n```\n");
  ASSERT_EQ(examples.size(), 1U);
  EXPECT_EQ(examples[0].file_name, "a/main.cpp");
  EXPECT_EQ(examples[0].file_text, "int main() {}\n");
}

TEST(ReadmeExamplesTest, MarksThatMakeNoSenseAreNamedByLine) {
  const auto text_of = [](const char* page) { return thrown_text([&] { (void)parse_examples(page); }); };
  EXPECT_THAT(text_of("text\n```console\n$ ls\n```\n"), HasSubstr("line 2: a console block without a mark"));
  EXPECT_THAT(text_of("<!-- example: run -->\ntext\n"), HasSubstr("line 2"));
  EXPECT_THAT(text_of("<!-- example: run -->\n"), HasSubstr("no block"));
  EXPECT_THAT(text_of("<!-- example: walk -->\n"), HasSubstr("no such mark"));
  EXPECT_THAT(text_of("<!-- example: run -->\n```console\noutput\n```\n"), HasSubstr("begins with"));
  EXPECT_THAT(text_of("<!-- example: run -->\n```console\n$ ls\n"), HasSubstr("does not end"));
}

TEST(ReadmeExamplesTest, TheScriptKeepsOutputsExitCodesAndTheShellsState) {
  const auto ran = run_command({"bash", "-c",
                                script_of({{"cd / && printf 'no newline'", {}},
                                           {"pwd; echo problem >&2", {}},
                                           {"false", {}},
                                           {"cat", {}},
                                           {"echo last\necho line", {}}})});
  const auto outputs = separate_outputs(ran.out);
  ASSERT_EQ(outputs.size(), 5U) << ran.out << ran.err;
  EXPECT_THAT(outputs[0].lines, ElementsAre("no newline"));
  EXPECT_THAT(outputs[1].lines, ElementsAre("/", "problem"));
  EXPECT_EQ(outputs[1].exit_code, 0);
  EXPECT_EQ(outputs[2].exit_code, 1);
  EXPECT_THAT(outputs[3].lines, IsEmpty());
  EXPECT_THAT(outputs[4].lines, ElementsAre("last", "line"));
}

TEST(ReadmeExamplesTest, AShellThatEndsEarlyIsNoticed) {
  const auto ran = run_command({"bash", "-c", script_of({{"exit 3", {}}, {"echo never", {}}})});
  EXPECT_THAT(separate_outputs(ran.out), IsEmpty());
}

TEST(ReadmeExamplesTest, WhatIsTheSameHasNoDifference) {
  EXPECT_EQ(difference({}, {}), "");
  EXPECT_EQ(difference({"a  b ", "c"}, {"a b", "c"}), "");
  EXPECT_EQ(difference({"took 3.1 ms, 12x, 2 GB/s, 80%"}, {"took 250 ms, 3.5x, 11.25 GB/s, 7%"}), "");
  EXPECT_EQ(difference({"first", "...", "last"}, {"first", "1", "2", "last", "last"}), "");
  EXPECT_EQ(difference({"first", "..."}, {"first"}), "");
  EXPECT_EQ(difference({"pid ... ended"}, {"pid 4711 ended"}), "");
}

TEST(ReadmeExamplesTest, WhatDiffersIsShown) {
  EXPECT_EQ(difference({"a", "b"}, {"a", "c"}), "expected: b\n  actual: c");
  EXPECT_EQ(difference({"a"}, {"a", "more"}), "expected: (the end)\n  actual: more");
  EXPECT_EQ(difference({"a", "less"}, {"a"}), "expected: less\n  actual: (the end)");
  EXPECT_THAT(difference({"mean 3.5"}, {"mean 3.6"}), Not(IsEmpty())) << "numbers without a unit of time count";
  EXPECT_THAT(difference({"shape 62 x 37"}, {"shape 56 x 37"}), Not(IsEmpty()));
  EXPECT_THAT(difference({"a", "...", "z"}, {"a", "b"}), Not(IsEmpty()));
  EXPECT_THAT(difference({"pid ... ended"}, {"pid 4711 began"}), Not(IsEmpty()));
}

}  // namespace
}  // namespace runrig::test
