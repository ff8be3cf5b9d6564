using Sagas.Tests;
using Sagas.Tests.Testing;
using Xunit;
using Xunit.Sdk;
using Xunit.v3;

[assembly: AssemblyFixture(typeof(SharedServers))]
[assembly: TestCollectionOrderer(typeof(LongestFirst))]

namespace Sagas.Tests;

/// <summary>Ends the servers that tests share with the tests.</summary>
public sealed class SharedServers : IAsyncDisposable
{
    public ValueTask DisposeAsync() => Servers.EndAsync();
}

/// <summary>What takes its minute whatever the machine begins first, so that the other tests run beside it.</summary>
public sealed class LongestFirst : ITestCollectionOrderer
{
    public IReadOnlyCollection<TTestCollection> OrderTestCollections<TTestCollection>(IReadOnlyCollection<TTestCollection> testCollections) where TTestCollection : ITestCollection =>
        [.. testCollections.OrderByDescending(collection => collection.TestCollectionDisplayName.Contains(nameof(FreshSeedTests), StringComparison.Ordinal))];
}
