# A shim of dotnet lines, the same ones that .ci/run calls. No logic lives here.
param([ValidateSet('restore', 'build', 'test', 'bench', 'pack')][string] $Task = 'build')
$ErrorActionPreference = 'Stop'
switch ($Task) {
    'restore' { dotnet restore Engine.sln }
    'build' { dotnet build Engine.sln -c Release }
    'test' { dotnet test Engine.sln -c Release }
    'bench' { dotnet run -c Release --project bench/MoeSharp.Bench -- smoke }
    'pack' { dotnet pack src/MoeSharp.Cli -c Release }
}
if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
