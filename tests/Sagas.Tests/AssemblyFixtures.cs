using Sagas.Tests;
using Xunit;

[assembly: AssemblyFixture(typeof(SharedServers))]

namespace Sagas.Tests;

/// <summary>Ends the servers that tests share with the tests.</summary>
public sealed class SharedServers : IAsyncDisposable
{
    public ValueTask DisposeAsync() => Servers.EndAsync();
}
