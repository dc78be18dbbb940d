# Build rules of the house: one static library a room, one executable a test file.

add_library(leeward_options INTERFACE)
target_compile_options(leeward_options INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wimplicit-fallthrough -Werror
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)  # false positives on std::variant (GCC 12)
target_include_directories(leeward_options INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_definitions(leeward_options INTERFACE LEEWARD_VERSION="${PROJECT_VERSION}")
if(LEEWARD_SANITIZE)
  target_compile_options(leeward_options INTERFACE
    -fsanitize=${LEEWARD_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(leeward_options INTERFACE -fsanitize=${LEEWARD_SANITIZE})
endif()
if(LEEWARD_FUZZ)
  target_compile_options(leeward_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
find_program(LEEWARD_MOLD mold)
if(LEEWARD_MOLD)
  target_link_options(leeward_options INTERFACE -fuse-ld=mold)
endif()
find_program(LEEWARD_CCACHE ccache)
if(LEEWARD_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${LEEWARD_CCACHE})
  if(LEEWARD_PCH)  # which ccache asks to be told of
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${LEEWARD_CCACHE})
  endif()
endif()

# Headers that most files read, compiled once for the rooms and once for their tests. The release does without,
# so that a file that forgets one of its own includes does not build there.
set(leeward_common_headers <algorithm> <array> <atomic> <charconv> <chrono> <cstdint> <cstring> <deque>
  <functional> <map> <memory> <mutex> <optional> <set> <span> <string> <string_view> <thread>
  <unordered_map> <utility> <vector> <fmt/format.h>)

# leeward_precompile(<name> header...) : an object library for target_precompile_headers(... REUSE_FROM <name>)
function(leeward_precompile name)
  find_package(fmt REQUIRED)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/${name}.cc CONTENT "")
  add_library(${name} OBJECT ${CMAKE_BINARY_DIR}/${name}.cc)
  target_link_libraries(${name} PRIVATE leeward_options fmt::fmt)
  target_precompile_headers(${name} PRIVATE ${ARGN})
endfunction()

# leeward_room(<name> SOURCES a.cc b.cc [DEPS room... | library...] [PRIVATE_DEPS library...])
# Sources are relative to src/<name>. The target is leeward_<name>.
function(leeward_room name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  string(REPLACE "/" "_" id ${name})
  add_library(leeward_${id} STATIC ${A_SOURCES})
  target_link_libraries(leeward_${id} PUBLIC leeward_options ${A_DEPS} PRIVATE ${A_PRIVATE_DEPS})
  if(LEEWARD_PCH)
    target_precompile_headers(leeward_${id} REUSE_FROM leeward_room_headers)
  endif()
endfunction()

# leeward_test(<room> <file_test.cc> [DEPS library...]) : tests/unit/<room>/<file_test.cc>
function(leeward_test room file)
  cmake_parse_arguments(A "" "" "DEPS" ${ARGN})
  get_filename_component(stem ${file} NAME_WE)
  set(target unit_${room}_${stem})
  add_executable(${target} ${file})
  target_link_libraries(${target} PRIVATE leeward_options ${A_DEPS} GTest::gtest GTest::gmock GTest::gtest_main)
  if(LEEWARD_PCH)
    target_precompile_headers(${target} REUSE_FROM leeward_test_headers)
  endif()
  gtest_discover_tests(${target} TEST_PREFIX "${room}/" DISCOVERY_MODE PRE_TEST
    PROPERTIES TIMEOUT 120)
endfunction()

# leeward_fuzz(<file_fuzz.cc> [DEPS library...]) : tests/fuzz/<file_fuzz.cc>, corpus in tests/fuzz/corpus/<stem>.
# With libFuzzer it is a fuzzer; in every other build it is a CTest case that replays the corpus.
function(leeward_fuzz file)
  cmake_parse_arguments(A "" "" "DEPS" ${ARGN})
  get_filename_component(stem ${file} NAME_WE)
  add_executable(${stem} ${file})
  target_link_libraries(${stem} PRIVATE leeward_options ${A_DEPS})
  set(corpus ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${stem})
  if(LEEWARD_FUZZ)
    target_link_options(${stem} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${stem} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.cc)
    add_test(NAME fuzz/${stem} COMMAND ${stem} ${corpus})
  endif()
endfunction()
