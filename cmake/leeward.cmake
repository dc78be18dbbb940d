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
endif()

# leeward_room(<name> SOURCES a.cc b.cc [DEPS room... | library...] [PRIVATE_DEPS library...])
# Sources are relative to src/<name>. The target is leeward_<name>.
function(leeward_room name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  string(REPLACE "/" "_" id ${name})
  add_library(leeward_${id} STATIC ${A_SOURCES})
  target_link_libraries(leeward_${id} PUBLIC leeward_options ${A_DEPS} PRIVATE ${A_PRIVATE_DEPS})
endfunction()

# leeward_test(<room> <file_test.cc> [DEPS library...]) : tests/unit/<room>/<file_test.cc>
function(leeward_test room file)
  cmake_parse_arguments(A "" "" "DEPS" ${ARGN})
  get_filename_component(stem ${file} NAME_WE)
  set(target unit_${room}_${stem})
  add_executable(${target} ${file})
  target_link_libraries(${target} PRIVATE leeward_options ${A_DEPS} GTest::gtest GTest::gmock GTest::gtest_main)
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
