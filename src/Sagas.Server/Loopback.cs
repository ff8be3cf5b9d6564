using System.Net;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Sagas.Server;

// Addresses come from --urls, ASPNETCORE_URLS, ASPNETCORE_HTTP_PORTS, Kestrel:Endpoints and more, as names, wildcards or
// numbers. So it is not the settings that are looked at, but each endpoint at the moment before it is bound.

/// <summary>Binds no address that another machine could reach.</summary>
internal sealed class Loopback(IConnectionListenerFactory sockets) : IConnectionListenerFactory, IConnectionListenerFactorySelector
{
    /// <summary>Makes the host listen on this machine only.</summary>
    public static void Only(IServiceCollection services)
    {
        services.RemoveAll<IMultiplexedConnectionListenerFactory>();     // QUIC: nobody needs HTTP/3 to himself
        var given = services.Last(service => service.ServiceType == typeof(IConnectionListenerFactory));
        services.RemoveAll<IConnectionListenerFactory>();
        services.AddSingleton<IConnectionListenerFactory>(provider => new Loopback((IConnectionListenerFactory)ActivatorUtilities.CreateInstance(provider, given.ImplementationType!)));
    }

    public bool CanBind(EndPoint endpoint) => sockets is not IConnectionListenerFactorySelector selector || selector.CanBind(endpoint);

    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
    {
        if (endpoint is IPEndPoint ip && !IPAddress.IsLoopback(ip.Address.IsIPv4MappedToIPv6 ? ip.Address.MapToIPv4() : ip.Address)) throw new RemoteAddressException(ip);
        return sockets.BindAsync(endpoint, cancellationToken);
    }
}

/// <summary>The host was to listen where other machines reach it, and was not told that it may.</summary>
internal sealed class RemoteAddressException(IPEndPoint endpoint) : IOException(
    $"{endpoint} is an address that other machines reach, and there is no authentication. Listen on 127.0.0.1, [::1] or localhost, or allow it by Sagas:AllowRemote=true.");
