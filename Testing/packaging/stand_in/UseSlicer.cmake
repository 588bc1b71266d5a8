include(CTest)
include("${CMAKE_CURRENT_LIST_DIR}/ctkMacroCompilePythonScript.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/slicerMacroBuildScriptedModule.cmake")
