"""The texts of e-mails in Spanish.

The catalogues (services/notifications/words) have the other languages.

An e-mail to a desk says only that there is a task: somebody who looks over a shoulder or reads the
mailbox learns that an account exists, and no more. In each language, the e-mails to desks differ
only in their link. E-mails to one person say what they are about.
"""

from dataclasses import dataclass

from chassis.languages import N_

ID_LENGTH = 32


@dataclass(frozen=True)
class MailText:
    """The subject and the body of an e-mail before they are translated.

    The body contains `{link}` and, if the link carries a token, `{code}`: the token, to be typed by
    a recipient who can't open the link.
    """

    subject: str
    body: str


@dataclass(frozen=True)
class Mail:
    """A complete e-mail.

    Its Message-ID is derived from `id`, so that a mailbox recognises a repeat.
    """

    id: str
    recipient: str
    subject: str
    body: str
    language: str


TASK = MailText(
    N_("Tiene una tarea en Enlace"),
    N_(
        "Tiene una tarea en Enlace.\n\n"
        "{link}\n\n"
        "Este mensaje se envía solo; no hace falta responder.\n"
    ),
)
INVITATION = MailText(
    N_("Invitación a Enlace"),
    N_(
        "Le invitaron a abrir una cuenta en Enlace.\n\n"
        "{link}\n\n"
        "El enlace sirve una sola vez y durante 72 horas. Es solo para usted: no lo"
        " reenvíe.\n"
        "Si la página le pide el código, es este:\n\n"
        "{code}\n\n"
        "Si ya tiene una cuenta con este correo, o si no esperaba este mensaje, no haga"
        " nada.\n"
    ),
)
APPLICATION = MailText(
    N_("Su pedido para entrar a Enlace"),
    N_(
        "Alguien pidió con este correo que una organización entre a la red Enlace. Si"
        " fue usted, abra el enlace: solo entonces se lee el pedido.\n\n"
        "{link}\n\n"
        "El enlace sirve una sola vez y durante tres días.\n"
        "Si la página le pide el código, es este:\n\n"
        "{code}\n\n"
        "Si no fue usted, no haga nada: sin el enlace nadie lo lee, y se borra.\n"
    ),
)
ACCOUNT = {
    "password_reset_asked": MailText(
        N_("Contraseña nueva de Enlace"),
        N_(
            "Alguien pidió cambiar la contraseña de su cuenta en Enlace. Si fue usted,"
            " elija otra aquí:\n\n"
            "{link}\n\n"
            "El enlace sirve una sola vez y durante una hora. Es solo para usted: no lo"
            " reenvíe.\n"
            "Si la página le pide el código, es este:\n\n"
            "{code}\n\n"
            "Si no fue usted, no haga nada: su contraseña sigue siendo la misma.\n"
        ),
    ),
    "password_changed": MailText(
        N_("Su contraseña de Enlace cambió"),
        N_(
            "Cambió la contraseña de su cuenta en Enlace, y se cerraron sus otras"
            " sesiones.\n\n"
            "Si fue usted, no haga nada. Si no fue usted, avise ya a quien dirige su"
            " organización, y elija otra contraseña aquí:\n\n"
            "{link}\n"
        ),
    ),
    "second_factor_removed": MailText(
        N_("Cambió cómo entra a Enlace"),
        N_(
            "Quien dirige su organización quitó el código del teléfono y las llaves de"
            " acceso con que usted entra a Enlace, y cerró sus sesiones.\n\n"
            "Su contraseña sigue siendo la misma. Ponga otra vez un código o una llave en"
            " Mi cuenta.\n\n"
            "Si usted no lo pidió, llame ya a la coordinación, y elija otra contraseña"
            " aquí:\n\n"
            "{link}\n"
        ),
    ),
    "second_factor_removed_by_coordination": MailText(
        N_("Cambió cómo entra a Enlace"),
        N_(
            "La coordinación de la red quitó el código del teléfono y las llaves de acceso"
            " con que usted entra a Enlace, y cerró sus sesiones.\n\n"
            "Su contraseña sigue siendo la misma. Ponga otra vez un código o una llave en"
            " Mi cuenta.\n\n"
            "Si usted no lo pidió, llame ya a la coordinación, y elija otra contraseña"
            " aquí:\n\n"
            "{link}\n"
        ),
    ),
    "provider_proposed": MailText(
        N_("Proponen otra forma de entrar a Enlace para su gente"),
        N_(
            "Alguien de la coordinación propuso que la gente de su organización entre a"
            " Enlace con cuentas de otra dirección. Quien maneje esa dirección podría"
            " entrar como cualquiera de ustedes.\n\n"
            "Si su organización lo pidió, no haga nada: se confirma en tres días como muy"
            " pronto.\n"
            "Si no lo pidió, objételo aquí, y avise a la coordinación por teléfono:\n\n"
            "{link}\n"
        ),
    ),
    "entry_proposed": MailText(
        N_("Proponen cambiar la ficha de su organización en Enlace"),
        N_(
            "Alguien de la coordinación propuso cambiar el tipo, el país o el número"
            " público de su organización. De esto depende quién la encuentra, qué recibe y"
            " adónde se llama. Lo tiene que confirmar alguien más de la coordinación.\n\n"
            "Si su organización lo pidió, no haga nada. Si no, llame ya a la coordinación;"
            " si no tiene su número, pregúntelo en una de las líneas:\n\n"
            "{link}\n"
        ),
    ),
    "entry_changed": MailText(
        N_("La coordinación cambió algo de su organización en Enlace"),
        N_(
            "Alguien de la coordinación cambió o quitó datos de su organización, de un servicio"
            " o de un lugar, o revocó una clave de sistema. De eso depende quién la encuentra,"
            " adónde se llama y si su sistema entra.\n\n"
            "Si su organización lo pidió, no haga nada. Si no, corríjalo aquí, y llame ya a la"
            " coordinación:\n\n"
            "{link}\n"
        ),
    ),
    "key_made": MailText(
        N_("Clave de sistema en Enlace"),
        N_(
            "Una cuenta de su organización hizo, confirmó o tomó a su cargo una clave de"
            " sistema. Sigue aunque esa cuenta cambie su contraseña. Si fue usted, o lo"
            " sabe, no haga nada. Si no, mírelo y termínelo aquí, y pida a quien usa esa"
            " cuenta que cambie su contraseña:\n\n"
            "{link}\n"
        ),
    ),
    "person_invited": MailText(
        N_("Alguien fue invitado a Enlace"),
        N_(
            "Una cuenta de su organización invitó a alguien a abrir una cuenta en Enlace."
            " Si fue usted, o lo sabe, no haga nada. Si no, mírelo y termínelo aquí, y pida"
            " a quien usa esa cuenta que cambie su contraseña:\n\n"
            "{link}\n"
        ),
    ),
    "role_given": MailText(
        N_("Tarea de la red en Enlace"),
        N_(
            "En Enlace se invitó a alguien a coordinar o a auditar la red, o se confirmó"
            " esa invitación. Si fue usted, o lo sabe, no haga nada. Si no, mírelo y"
            " termínelo aquí, y pida a quien usa esa cuenta que cambie su contraseña:\n\n"
            "{link}\n"
        ),
    ),
    "provider_changed": MailText(
        N_("Cambia por dónde se entra a Enlace"),
        N_(
            "En Enlace se propuso, se confirmó o se quitó la dirección por la que entra la"
            " gente de una organización. Si fue usted, o lo sabe, no haga nada. Si no,"
            " mírelo y termínelo aquí, y pida a quien usa esa cuenta que cambie su"
            " contraseña:\n\n"
            "{link}\n"
        ),
    ),
    "sign_in_changed": MailText(
        N_("Cambió cómo entra una cuenta de Enlace"),
        N_(
            "Una cuenta de Enlace de su organización puso o quitó un código del teléfono o"
            " una llave de acceso, para sí o para otra cuenta. Si fue usted, o lo sabe, no"
            " haga nada. Si no, y la cuenta es suya, mírelo y termínelo aquí, y cambie su"
            " contraseña. Si es de alguien más, avísele, y suspenda la cuenta en Equipo:\n\n"
            "{link}\n"
        ),
    ),
    "account_suspended": MailText(
        N_("Se suspendió una cuenta de Enlace"),
        N_(
            "Se suspendió una cuenta de Enlace: la suya, u otra de su organización. Si fue usted, o"
            " lo sabe, no haga nada. Si no, llame ya a quien dirige su organización o a la"
            " coordinación; si no tiene su número, pregúntelo en una de las líneas:\n\n"
            "{link}\n"
        ),
    ),
    "member_held": MailText(
        N_("Su organización no entra a Enlace por ahora"),
        N_(
            "Alguien de la coordinación de la red detuvo por 24 horas el acceso de su"
            " organización. Si nadie más de la coordinación lo confirma, vuelve solo.\n\n"
            "Mientras tanto no entra nadie de su organización, ni sus sistemas. A quienes"
            " tienen algo en curso con ustedes se les avisa. Sigan atendiendo como"
            " siempre.\n\n"
            "Llame a la coordinación; si no tiene su número, pregúntelo en una de las"
            " líneas:\n\n"
            "{link}\n"
        ),
    ),
    "member_suspended": MailText(
        N_("Su organización no entra a Enlace por ahora"),
        N_(
            "La coordinación de la red suspendió a su organización: lo decidieron dos, de"
            " dos organizaciones.\n\n"
            "No entra nadie de su organización, ni sus sistemas, hasta que otra vez lo"
            " decidan dos. A quienes tienen algo en curso con ustedes se les avisa. Sigan"
            " atendiendo como siempre.\n\n"
            "Llame a la coordinación; si no tiene su número, pregúntelo en una de las"
            " líneas:\n\n"
            "{link}\n"
        ),
    ),
    "member_reinstated": MailText(
        N_("Su organización entra otra vez a Enlace"),
        N_(
            "La gente y los sistemas de su organización entran otra vez.\n\n"
            "Mire lo que quedó esperando, y diga cuánto lugar hay:\n\n"
            "{link}\n"
        ),
    ),
    "member_left": MailText(
        N_("Su organización se retiró de Enlace"),
        N_(
            "Su organización se retiró de la red para siempre. Ya no entra nadie de su"
            " organización, ni sus sistemas.\n\n"
            "Si nadie de ustedes lo quiso, llame ya a la coordinación; si no tiene su"
            " número, pregúntelo en una de las líneas:\n\n"
            "{link}\n"
        ),
    ),
}
"""The e-mails to a worker about her own account or organisation, by the kind of the notice."""

PAGES = {
    "provider_proposed": "sign-in-provider",
    "entry_proposed": "",
    "entry_changed": "entry",
    "key_made": "keys",
    "person_invited": "members",
    "role_given": "inbox",
    "provider_changed": "inbox",
    "sign_in_changed": "account",
    "account_suspended": "",
    "member_held": "",
    "member_suspended": "",
    "member_reinstated": "",
    "member_left": "",
}
"""The page that a letter without a token links to, by the kind of the notice; "" is the home page.

All other letters without a token link to the page on which a worker asks for a new password.
"""
